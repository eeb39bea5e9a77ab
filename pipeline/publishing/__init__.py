"""What a mosaic shows of itself to people, catalogues and readers.

Read `publish` first: the order in which things are put, and how it goes on after it was killed.
Then `manifest` (what was published before), `registry` (a row for each tile and year), `preview`
with `painted_chunks` (the picture of the world), `stac`, and `totals` with `coverage_map`, `report`
and `attribution` (what people read). `drawing` draws figures of pixels, for the demo.
"""
