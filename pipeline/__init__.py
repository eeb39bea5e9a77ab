"""From the globe to the mosaic, one module a stage, named in the order data meets them.

`grid`, `land`, `scenes`, `rasters`, `sentinel2`, `sentinel1`, `stack`, `mosaic`, `records`,
`embed`, and around the job `plan`, `status`, `verify`, `publish` and `cli`.
"""

__version__ = "0.1.0"
