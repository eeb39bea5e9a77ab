"""How are many pixels computed at once, fast, and each to the same bytes whatever is beside it?

Read `packed_network` (an encoder laid out for a device, over slabs of tokens), then what it stands
on: `slabs` (tokens in the order of computing), `packing` (which observations fill a slab),
`batches` (how much is computed at once), `kernels` (the arithmetic of a device and a precision).
"""
