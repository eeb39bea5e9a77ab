"""The tile job: a list of tiles in a store, made once each by a maker, whatever it makes.

It answers how tiles get to workers, how often each is tried, what is recorded of it, and what came
of all of them. Read `maker` (what is made), `job_request` (what can be asked for) and `launch`
(from one to the other) first; then the way of a tile: `graph`, `neighbourhoods`, `worker`,
`make_tile`, with `tile_slots`, `device_health` and `failure_limit` around it. `shares` divides a
list among launchers, and `share_claim` keeps them apart. `local_runner` (apart in `runner_process`,
`loopback`) and `beam_options` are the runners; `heartbeat`, `monitor`, `outcome` and `beam_metrics`
watch.
"""
