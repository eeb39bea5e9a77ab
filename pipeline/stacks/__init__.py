"""What was seen of a block in a year?

Read `preprocessing` (the rules by which pixels become observations) with `sentinel2` and
`sentinel1`, then `block_reader`, which applies them to the scenes of a block and gives its
`annual_stack`; `losses` counts the scenes that could not be read. `read_stack` does so for a
region, and `dpixel_files` holds stacks on a disk.
"""
