"""Light heads on embeddings: what they are, how they are fitted and applied, and their file.

Read `head` (what a head holds), `scoring` (codes to classes, values and distances), `fitting` (how
labels become a head, which needs the extra `training`; `ridge` has the sums of linear ones),
`training_space` (what the training data looked like) and `files` (one safetensors file a head,
never a pickle).
"""
