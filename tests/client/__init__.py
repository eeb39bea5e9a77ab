"""The official client, in an environment of its own, opens what we write."""
