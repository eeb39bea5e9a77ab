#!/usr/bin/env bash
# Runs a command on the mosaic once, as a person: with the schedule's arguments, and others after
# them, which win.
#   deploy/again.sh annual --year=2021
#   deploy/again.sh run --year=2024 --overwrite TILE TILE
# Needs gcloud (signed in as who may run the job with other arguments, run.jobsExecutorWithOverrides)
# and Terraform's second apply.
set -euo pipefail
cd "$(dirname "$0")/.."

if (($# < 1)); then
  sed -n '3,5s/^# *//p' "$0" >&2
  exit 2
fi
fail() {
  echo "again.sh: $1" >&2
  exit 2
}
needs() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }
needs python3 "it reads the settings"
needs gcloud "it starts the job"
needs terraform "its state says which job"
read_output() { terraform -chdir=deploy/terraform output -json "$1"; }
settings=$(read_output settings 2>/dev/null) && [[ $settings == \{* ]] ||
  fail "Terraform has no state here: run init and apply in deploy/terraform first (docs/operator.md)"
region=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["gcp_region"])' <<<"$settings")
# gcloud splits at commas unless it is told another mark, and regions have commas.
words=$(read_output arguments | python3 -c 'import json, sys; print("|".join(["^|^tessera-mosaic", sys.argv[1], *json.load(sys.stdin), *sys.argv[2:]]))' "$@")
gcloud run jobs execute tessera-annual --region="$region" --args="$words"
