"""Which values has a band of a scene on the pixels of the lattice?

Read `scene_reader`, which puts the rest together: `scene_assets` fetches bytes of a scene's files,
`cog` reads headers and decodes blocks, `byte_ranges` groups blocks into requests, `block_cache`
keeps decoded blocks, and `resample` brings pixels to the lattice. `label_raster` reads the labels
of a user.
"""
