"""How bytes are read and written by their address or key, and what goes wrong with that.

Two ways lead out of the process. What a catalogue points to is read by `fetcher.Remote`: `urls`
tells where an address leads, `http` (over `connections` to `web_addresses`, with `tls`) and
`buckets` ask there, `throttle` waits as providers wish.
What a job makes is kept in a `storage.Storage`: `protocols` says which addresses may be one. Its
objects are `local_files` on this machine, and asked for by `file_systems` elsewhere. `answers`
reads what a store said, `store_errors` classes it, and `patience` asks again. `exclusion` tries
whether a store puts an object only where there is none, and by that `locks` lets one process at a
time edit one (`file_lock` is the system's own); `sealed` is the form of small objects that must not
be read damaged, and `stored_object` what is remembered of large ones. Read `urls`, `throttle`,
`http`, `buckets`, `fetcher` in this order, then `protocols`, `answers`, `store_errors`, `patience`,
`local_files`, `file_systems`, `storage`, `exclusion`, `locks`, `sealed`.
"""
