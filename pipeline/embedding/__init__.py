"""How does a tile's ground become embeddings in a store, and with which encoder?

Read `embed_tile` and `sample_tile` (the makers: one fills a mosaic, the other a folder of d-pixels,
of which `sample_index` says what it holds) and `named_inputs` (the catalogue and the encoder that
makers name and workers open); then what chooses and opens an encoder: `encoder_card` (which card,
without PyTorch), `encoders`, `worker_device` (which GPU is a worker's own), `weights` (files
fetched and kept). `adopt_tile` fills a mosaic with embeddings that others
made, of which `adopted_grids` says where they lie. Beside the makers stand `encode_directory`
(d-pixels to codes) and `pretraining` (d-pixels to weights), and `encoder_requests`, what these two
can be asked for.
"""
