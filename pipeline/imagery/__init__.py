"""Which values has a band of a scene on the pixels of the lattice?

Read `scene_reader`, which puts the rest together: `scene_assets` fetches bytes of a scene's files,
`cog` reads headers and decodes blocks, `byte_ranges` groups blocks into requests, `gathered` tells
which of them parts of the lattice need, `block_cache` keeps some, and `kernels` and
`resample` bring pixels to the lattice. `read_budget` says how much room stacks may take.
`label_raster` reads the labels of a user, `value_raster` numbers: values as labels, extra layers.
"""
