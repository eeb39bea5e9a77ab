"""Self-supervised training that makes a checkpoint."""
