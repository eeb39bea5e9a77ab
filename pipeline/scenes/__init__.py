"""Which scenes are there of a place and a year?

Read `scene` (the record of one scene) and `source` (what every catalogue can be asked), then
`open_catalog`, which chooses among the catalogues; each has a module: `static_catalog`, `stac_api`,
`geoparquet`, `planetary_computer`, `earth_search` with `opera`, and `dpixel_catalog`. `stac_items`
makes scenes of what they list, with `times`, `acquisitions`, `forms` and `links`. `twins` says
which versions of an acquisition count, and `sensors` what it means that a sensor is absent.
`credentials` signs the addresses of their files.
"""
