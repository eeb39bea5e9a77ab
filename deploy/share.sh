#!/usr/bin/env bash
# Copies what is new of the mosaic to the bucket that anybody may read, without its records, locks and
# lists of what was published. Run it after `publish`.
# Needs gcloud (signed in as who may write there) and `public_mosaic = true`.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "share.sh: $1" >&2
  exit 2
}
needs() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }
needs python3 "it reads the settings"
needs gcloud "it copies the mosaic"
needs terraform "its state says where the buckets are"
settings=$(terraform -chdir=deploy/terraform output -json settings 2>/dev/null) && [[ $settings == \{* ]] ||
  fail "Terraform has no state here: run init and apply in deploy/terraform first (docs/operator.md)"
setting() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])" <<<"$settings"; }
public=$(setting public_store)
[[ -n $public ]] || fail "there is no public bucket: set public_mosaic = true and apply"
gcloud storage rsync --recursive --exclude='^(records|published|\.partial)/' "$(setting store)" "$public"
