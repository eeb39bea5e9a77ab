"""TESSERA embeddings of the Earth: from Sentinel scenes to an annual global mosaic."""
