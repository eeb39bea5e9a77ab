#!/usr/bin/env bash
# Launches the Flex Template once.
#   deploy/launch.sh PRESET NAME=VALUE...
#   deploy/launch.sh l4 area=5.8,50.7,6.1,50.9 year=2024 catalog=planetary-computer model=v2-large \
#     weights=gs://PROJECT-tessera-assets/weights/student_large.pt
# Needs gcloud (signed in), terraform with the state of an apply, curl, and `pip install -e .` for the
# template's parameters; says in one line what is missing.
# DRY=1 has Dataflow check the request and start nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

if (($# < 2)); then
  sed -n '3,5s/^# *//p' "$0" >&2
  exit 2
fi
fail() {
  echo "launch.sh: $1" >&2
  exit 2
}
needs() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }
needs python3 "it reads the presets and makes the request"
python3 -c 'import tessera_mosaic' 2>/dev/null || fail "python3 has no tessera_mosaic: pip install -e '.[dataflow]', and take that environment"
needs terraform "its state says where to launch"
needs curl "it posts the request"
needs gcloud "it signs the request"
settings=$(terraform -chdir=deploy/terraform output -json settings 2>/dev/null) && [[ $settings == \{* ]] ||
  fail "Terraform has no state here: run init and apply in deploy/terraform first (docs/operator.md)"
token=$(gcloud auth print-access-token 2>/dev/null) && [[ -n $token ]] || fail "gcloud is not signed in: gcloud auth login"
presets=$(python3 -c 'from deploy.presets import PRESETS; print(*PRESETS)')
[[ " $presets " == *" $1 "* ]] || fail "there is no preset '$1': take one of ${presets// /, }"
body=$(python3 -m deploy.template launch "$@" <<<"$settings")
if [[ -n ${DRY:-} ]]; then
  body=$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin) | {"validateOnly": True}))' <<<"$body")
fi
address=$(python3 -c 'import json, sys; s = json.load(sys.stdin); print("https://dataflow.googleapis.com/v1b3/projects/{project}/locations/{gcp_region}/flexTemplates:launch".format(**s))' <<<"$settings")

# The token goes through a file descriptor, so that no process list shows it.
curl --fail-with-body --silent --show-error \
  --header @<(printf 'Authorization: Bearer %s\n' "$token") \
  --header 'Content-Type: application/json' \
  --data @- "$address" <<<"$body"
