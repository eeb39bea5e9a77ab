"""Object stores that run on this machine, for tests."""
