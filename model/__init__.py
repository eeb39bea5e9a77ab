"""How does a pixel's year of observations become an embedding?

Tensors and arrays only: nothing here knows of Beam, rasters or stores. Read `observations` (the
annual stack of a block), `encoder` (a stack in, its embeddings out) and `quantize` (embeddings to
codes and back); then `cards` (the known models), `networks` (their definition), `checkpoints`
(weights files) and `engine` (the fast path). `pretrain` trains weights of one's own, `probes` says
what a representation is good for, and `cores` counts the processor's cores.
"""
