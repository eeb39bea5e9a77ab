"""Networks that make vectors of a place's coordinates alone, with weights that others published.

Read `geoclip`, whose weights come with the package of that name, and `satclip`, whose weights a
user gives. Both take latitude and longitude in degrees and know nothing of imagery.
"""
