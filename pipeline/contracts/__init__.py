"""What an artefact says of itself, and which artefacts may meet.

Read `state` (with `values`, what its JSON may hold), then `chain` (what is made of what), `ground`
(what lies where) and `rules`.

Everything that a command writes carries one `State`: where its pixels lie, of which years
they are, what they were made by and from, what their numbers mean. Absent means unknown: a state
tells what the artefact knows, never what is likely.

How an artefact writes and reads its state, for whoever adds one:

1. Derive the state from what the artefact holds already, in a function `..._state` beside its
   format, so that no fact is written twice by hand: `State(Kind.HEAD, digests=(sha256,), ...)`.
2. Write it under the name `STATE` in the metadata that the format has: an attribute of a Zarr root
   or a member of a JSON document as an object (`state.to_json()`); metadata of Parquet, whose
   values are texts, as `encode_state(state)`. Entries of safetensors come in no order, so that with
   two the same content has other bytes: there the state is a member of the JSON of the only one. A
   format without metadata, such as CSV, gets a file beside it: `beside(path)` is its name,
   `encode_state(state)` what it holds.
3. Read it with `State.from_json(value)` or `decode_state(text)`. Both take nothing on trust, and
   raise one line of `BadInput`.

An artefact without a state, since an earlier version or somebody else wrote it, opens as ever.
"""
