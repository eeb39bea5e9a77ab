"""Is what was planned there, and is it whole?

Read `findings` (what can be wrong), `tile_checks` (one tile against its record, by its bytes and
its values) and `mosaic_checks` (all tiles of a mosaic, its metadata, and what was published of it).
"""
