"""How is an encoder trained on pixels that nobody labelled?

Read `recipe` (the numbers of a training), `training` (the loop) and `objectives` (what it
minimises), then what feeds them: `samples` (d-pixels and their files), `shuffle` (batches in a
reproducible order), `tokens` (a pixel's year as the network takes it). `parallel` joins several
processes, `history` draws how it went.
"""
