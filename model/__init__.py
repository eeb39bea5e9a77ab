"""The encoder: a pixel's year of Sentinel-1 and Sentinel-2 observations in, an embedding out.

Tensors and arrays only. Nothing here knows of Beam, rasters or stores.
"""
