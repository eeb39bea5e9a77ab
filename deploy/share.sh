#!/usr/bin/env bash
# Copies what is new of the mosaic to the bucket that anybody may read, without its records, locks and
# lists of what was published. Run it after `publish`.
# Needs gcloud (signed in as who may write there) and `public_mosaic = true`.
set -euo pipefail
cd "$(dirname "$0")/.."

setting() { terraform -chdir=deploy/terraform output -json settings | python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
public=$(setting public_store)
if [[ -z $public ]]; then
  echo "share.sh: there is no public bucket: set public_mosaic = true and apply" >&2
  exit 2
fi
gcloud storage rsync --recursive --exclude='^(records|published|\.partial)/' "$(setting store)" "$public"
