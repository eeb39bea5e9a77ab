"""What is made from a mosaic: vectors at places, heads, maps, and how far these can be trusted.

It reads a mosaic, writes beside it, and changes nothing in it. A module a question: where to read
first is said here as they come.
"""
