"""Parts that somebody else's network takes in: so far one, that steers sharp imagery by embeddings.

`modulation` is the part, `placing` lays embeddings onto the pixels of an image.
"""
