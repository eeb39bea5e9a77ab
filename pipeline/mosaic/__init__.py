"""What lies in the Zarr store, and how it gets there and back.

Read `layout` (how a mosaic is cut into arrays, shards and chunks), `shards` (the bytes of one) and
`writer` (putting one, block by block); then `identity` (what decides a mosaic's bytes), `metadata`
with `conventions` and `preview_pyramid` (the metadata of its nodes), and `store` (making a mosaic,
growing it, reading it back); `mosaic_state` is what a mosaic says of itself.
`part_reader` reads scattered pixels and windows of one, `foreign` what somebody else published, and
`any_mosaic` either. `region_windows` says which part of one a region is. `datasets` is how users
open one.
"""
