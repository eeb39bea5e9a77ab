"""What became of each tile: what is asked for, who is at it, and how it ended.

Read `keys` first: all that lies in a store beside its Zarr arrays. Then, as a job goes:
`tile_lists` (what a run is asked for), `share_lists` (how several launchers divide that),
`in_progress` (which tiles are worked on), `metrics` and `tally` (what is measured, and how far the
workers are), `records` (how a tile ended, and why), `tile_summary`, `journal` and `summary` (the
same in short, for thousands of tiles at once). `standing` and `share_standing` count them, and
`forecast` sets beside them what was planned.
"""
