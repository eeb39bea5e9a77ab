"""Which tiles and pixels are asked for?

Read `lattice` first: zones, the pixel lattice, windows and tiles. `ownership` says whose a pixel is
and which tiles a region touches; `area` puts together what a user asks for. What can be asked for
stands in `region` (boxes, Sentinel-2 tiles), `countries`, `vector_files` with `gdal_sandbox` and
`polygons` (files that nobody vouches for), and `land` with `land_cells` (what is land). `boxes`
compares boxes in degrees.
"""
