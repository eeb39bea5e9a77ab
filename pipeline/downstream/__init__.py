"""What is made from a mosaic: vectors at places, heads, maps, and how far these can be trusted.

It reads a mosaic, writes beside it, and changes nothing in it.

Places: `place_files` reads points and polygons with their columns, `places` says which pixels of
the lattice they are.

Maps: `map_layout` says which arrays a map has, `map_store` makes, writes and reads its store.
"""
