"""What is made from a mosaic: vectors, heads, maps, hits, and how far these can be trusted.

It reads a mosaic, writes beside it, and changes nothing in it.

Looking: `selection` finds a region of a mosaic and reads it block by block. `picture` draws it,
with `true_colours` beside it; `export` writes what an `export_request` asks for, by
`export_geotiff` or `export_arrays`, in the cells of `export_cells` or as the folder of
`export_tze`; `point` tells of one pixel.

Places: `place_files` reads points and polygons with their columns, `places` says which pixels of
the lattice they are. `extract` writes the vectors at places as a table, whose rows `vector_table`
makes.

Mosaics: `made_tiles` says which tiles of one have data, whoever made it (`mosaic.any_mosaic`).
`compare` sets one beside another; `foreign_tile` tells a tile of theirs as `chunk_reader` does one
of ours.

Fields: `field_region` reads a region in several years, `field_pack` makes a field of it that a
`field_checkpoint` lets go on, `field_file` is its file, `field` tells vectors of one.

Heads: `labels` makes labelled pixels of whatever a user has, `label_check` looks at them, `train`
makes a head, `head_file` reads one and says which mosaic it may meet.

Extrapolation: `sample_table` reads tables of vectors with values, `site_tables` those of measuring
sites, `environment_rows` puts a mosaic's vectors beside them, `environments` evaluates.

Fusion: `fusion_products` says what a product is, `fusion_numbers` reads any at places, with
`fusion_tables` and `fusion_alphaearth`. `fusion_points` joins them with labelled points, `fusion`
has them scored side by side, `fusion_output` writes what came of it. `extra_features` is the same
for a head that `train` makes.

Maps: `map_layout` says which arrays a map has, `map_store` makes, writes and reads its store.
`make_map` puts a `map_request` and a head together to a `map_job`, whose maker is `map_tile`: it
reads with `chunk_reader` and writes with `map_objects` and `map_rasters`; `year_shift` is for heads
of another year. Afterwards `map_publication` writes what stands beside the tiles, with
`map_report`, `map_page` and `map_figures`.

Change: `year_pairs` reads a tile in two years, and a sample of a region; `change` is the
arithmetic, `change_baseline` what a region is measured against. `make_change` makes a `map_job` of
a `change_request`, whose maker is `change_tile`; `change_report` tells what came of it.

Search: `search_plan` makes a job of a `search_request` and the mosaic: `search_ground` says which
tiles are read, `search_examples` reads the places, `search_queries` makes products of them or of a
head. The maker is `search_tile`, with `search_scan` for the scores of a chunk and `search_heap` for
the best of them. `search` joins what was found (`search_result`) and puts it: `search_output`,
`search_sheet`, `search_raster`.

Blocks: `make_blocks` runs the job of them, whose maker is `block_tile`; `block_vectors` is what a
file of them holds, and `search_blocks` a first look at them in place of pixels.

How much there is: `points` draws a probability sample of a map into a `point_file`; `areas` makes
an `area_result` of it and an `area_report`, with `reference_labels` and `value_estimates`.
`map_pixels` reads anybody's map, `map_scan` passes over it once, by window, and `sample_scan` keeps
what the pass tells of a sample; `named_areas` are districts and parcels. `suggest` names the pixels
to label next.

Whether artefacts go together: `check` judges a chain of them by the rules of `contracts`;
`artefacts` reads any of them, `artefact_stores` mosaics and maps, `artefact_bytes` some of a
store's bytes.
"""
