#!/usr/bin/env bash
# Launches the Flex Template once.
#   deploy/launch.sh PRESET NAME=VALUE...
#   deploy/launch.sh l4 area=5.8,50.7,6.1,50.9 year=2024 catalog=planetary-computer model=v2-large \
#     weights=gs://PROJECT-tessera-assets/weights/student_large.pt
# Needs gcloud (signed in), and `pip install -e .` for the template's parameters.
# DRY=1 has Dataflow check the request and start nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

if (($# < 2)); then
  sed -n '3,5s/^# *//p' "$0" >&2
  exit 2
fi
settings=$(terraform -chdir=deploy/terraform output -json settings)
body=$(python3 -m deploy.template launch "$@" <<<"$settings")
if [[ -n ${DRY:-} ]]; then
  body=$(python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin) | {"validateOnly": True}))' <<<"$body")
fi
address=$(python3 -c 'import json, sys; s = json.load(sys.stdin); print("https://dataflow.googleapis.com/v1b3/projects/{project}/locations/{gcp_region}/flexTemplates:launch".format(**s))' <<<"$settings")

# The token goes through a file descriptor, so that no process list shows it.
curl --fail-with-body --silent --show-error \
  --header @<(printf 'Authorization: Bearer %s\n' "$(gcloud auth print-access-token)") \
  --header 'Content-Type: application/json' \
  --data @- "$address" <<<"$body"
