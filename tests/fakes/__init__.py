"""What stands in for the world outside: object stores, web services, catalogues, a full disk."""
