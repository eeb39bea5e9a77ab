"""A region's embeddings as a function of place and year, memorised by a small network.

Read `field` (what a field is, and how a vector is told from it), `sizes` (how many bytes go where),
`fitting` (how it is made), `components` (principal components in as many bytes, to set beside it)
and `fidelity` (how close either comes).

After the description of LIANet (arXiv 2604.07092), which memorises imagery; this memorises
embeddings, with plain grids in place of a hash table.
"""
