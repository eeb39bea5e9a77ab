"""What a mosaic shows of itself to people, catalogues and readers.

Read `publish` first: the order in which things are put, and how it goes on after it was killed.
Then `zone` (one zone of it) with `publication` and `manifest` (what is and was published),
`registry` (a row for each tile and year), `preview` with `painted_chunks` (the picture of the
world), `stac` with `stac_item`, `icechunk` with `icechunk_layouts` (versions), and `totals` with
`coverage_map`, `report` and `attribution` (what people read). `drawing` draws figures, for
the demo.
"""
