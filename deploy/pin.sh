#!/usr/bin/env bash
# Writes deploy/images.lock: the digest and the day of making of each image that the Dockerfile
# begins with. Look at what changed, and commit it: deploy/build.sh builds from nothing else.
# Needs docker with buildx.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "pin.sh: $1" >&2
  exit 2
}
needs() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }
needs python3 "it reads what docker tells"
needs docker "it asks for the digests"
docker buildx version >/dev/null 2>&1 || fail "docker has no buildx: install the plugin, it asks for the digests"

sed -n 's/^ARG \([A-Z]*_IMAGE\)=\(.*\)$/\1 \2/p' deploy/Dockerfile | while read -r name image; do
  digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
  made=$(docker buildx imagetools inspect "$image@$digest" --format '{{json (index .Image "linux/amd64")}}' |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["created"][:10])')
  echo "$name $image@$digest $made"
done >deploy/images.lock.new
mv deploy/images.lock.new deploy/images.lock
cat deploy/images.lock
