"""Which encoder does a weights file hold, and is it safe to read?

A file comes from anywhere and is untrusted. Read `checkpoint` (a file to sizes and parameters, and
back into a file), then what it leans on: `files` (digests, withdrawn files), `pickles` (what
PyTorch's unpickler may be given), `parameters` (names, shapes and types against the family's).
"""
