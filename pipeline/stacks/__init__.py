"""What was seen of a block in a year?

Read `preprocessing` (the rules by which pixels become observations) with `sentinel2` and
`sentinel1`, then `block_reader`, which applies them to the scenes of a block. `read_stack` gives
its `annual_stack`; `losses` counts the scenes that could not be read. `dpixel_files` holds stacks
on a disk, and `region_stack` makes such a folder of a region.
"""
