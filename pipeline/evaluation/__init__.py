"""How good are the embeddings of a mosaic, and the heads on them?

Read `label_scores` (what is asked, and what comes of it). `labelled_pixels` gathers the embeddings
under a user's labels, with the `raw_features` of the same observations beside them;
`score_tables` holds the scores, and writes and draws them.

How good is a map, and how much of each class is there? `sampling_designs` draws probability
samples of pixels; `stratified_estimates` and `map_accuracy` say what they tell, with the confidence
limits of `intervals`.

Extrapolation: `environments` says of which site, year or cell each row is, `environment_splits`
what is held out, `environment_models` what tells it, `environment_scores` what the errors of
environments say, `time_scales` over which time; `extrapolation` puts them together and draws.

Heads: `folds` says what folds do not cut, `penalty_choice` chooses penalties within them,
`head_scores` fits and tests a head under each kind, `score_sheets` adds up what it told.

Products beside each other: `fold_plans` lays folds by cells beside random ones, `complementarity`
says what products tell together, `published_protocol` what the paper's own way says, and
`representations` what their vectors are like before any label.
"""
