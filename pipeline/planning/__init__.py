"""What would a run take?

Read `plan_request` (what is asked), then `estimate`, which reckons tiles, hours, bytes, requests
and money from `revisits` (how often the satellites see the ground), `quantities` (how much that
makes) and `priors` (figures, prices and throughputs, each with its source).
"""
