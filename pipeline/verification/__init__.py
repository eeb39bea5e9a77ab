"""Is what was planned there, and is it whole?

`status` answers by the records alone, `verify` by every byte. Read `findings` (what can be wrong)
and `record_checks` (every planned tile against its record, whatever made it); then, of a mosaic,
`tile_checks` with `code_histograms` and `border_checks` (what a tile holds) and `mosaic_checks`
(all its tiles, its metadata, and what was published of it); and, of a folder of d-pixels,
`dpixel_checks`.
"""
