"""How bytes are read and written by their address or key, and what goes wrong with that.

Two ways lead out of the process. What a catalogue points to is read by `fetcher.Remote`: `urls`
tells where an address leads, `http` and `buckets` ask there, `throttle` waits as providers wish.
What a job makes is kept in a `storage.Storage`: on this machine by `local_files`, elsewhere by
`file_systems`, with the errors of either in the classes that `store_errors` gives them; `locks`
lets one process at a time edit an object, `sealed` is the form of small ones that must not be read
damaged, and `stored_object` what is remembered of large ones. Read `urls`, `throttle`, `http`,
`buckets`, `fetcher` in this order, then `store_errors`, `local_files`, `file_systems`, `storage`,
`locks`, `sealed`.
"""
