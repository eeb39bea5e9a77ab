"""What was seen of a block in a year?

Read `preprocessing` (the rules by which pixels become observations) with `sentinel2` and
`sentinel1`, then `block_reader`, which groups blocks into units, and `unit_reader`, which applies
the rules to the scenes of a unit and gives the `annual_stack` of each block; `losses` counts the
scenes that could not be read. `read_stack` does so for a region, and `dpixel_files` holds stacks on
a disk.
"""
