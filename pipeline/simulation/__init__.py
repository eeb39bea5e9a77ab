"""Which archive can be made up for the demo, the tests and the benchmarks?

Read `archive`, which writes rasters and a catalogue; `overpass` says who flies over when and what a
pass sees, and `landscape` what covers the ground.
"""
