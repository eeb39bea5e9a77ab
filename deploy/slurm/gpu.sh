#!/usr/bin/env bash
# Embeds a region's year on GPU nodes of a Slurm cluster.
#   bash deploy/slurm/gpu.sh
# submits an array of tasks, each of which makes a share of the tiles, and a closing job that takes
# up what is left, verifies and publishes. Submit again whenever you like, with another SHARES too:
# what is done stays done. docs/runners.md says more.
# shellcheck disable=SC1091,SC2034  # submit.sh uses what is set here

# The site's variables. Nothing below them needs an edit.
TESSERA=/shared/tessera/.venv/bin/tessera-mosaic # the program, at the same place on every node
STORE=/shared/mosaic.zarr                        # a folder that all nodes see, or s3:// or gs://
CATALOG=planetary-computer
REGION=5.8,50.7,6.1,50.9
YEAR=                        # empty: the last year that is complete
OPTIONS=(--model v2-large --weights /shared/weights/student_large.pt --precision bf16)
SHARES=8                     # tasks of the array; no more than there are tiles
AT_ONCE=$SHARES              # of these, at work at once
LOGS=/shared/logs            # a folder for what the tasks say
NOTICE=600                   # seconds before the time limit at which a task stops and asks for more
SITE=(                       # sbatch's own options: account, partition, limits
  --gpus-per-task=1
  --ntasks=1
  --cpus-per-task=8
  --mem=64G
  --time=12:00:00
)

# A process of the local runner has a GPU of its own.
OPTIONS+=(--device cuda --precision bf16)

source "$(dirname "${BASH_SOURCE[0]}")/submit.sh"
