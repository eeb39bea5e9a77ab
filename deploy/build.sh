#!/usr/bin/env bash
# Builds the image, pushes it, and puts the Flex Template that names it by its digest.
#   deploy/build.sh [cuda|cpu]         (cpu: TORCH_INDEX names PyTorch's index of CPU wheels)
# Needs docker with buildx, gcloud (signed in), and Terraform's first apply. WEIGHTS=weights/FILE bakes
# in what lies there, which git ignores. Says in one line what is missing. Prints the image's name for
# Terraform's variable `image`.
set -euo pipefail
cd "$(dirname "$0")/.."

variant=${1:-cuda}
case $variant in
  cuda) torch_index= ;;
  cpu) torch_index=${TORCH_INDEX:?for the CPU variant, give the address of the PyTorch index of CPU wheels} ;;
  *)
    echo "usage: deploy/build.sh [cuda|cpu]" >&2
    exit 2
    ;;
esac
fail() {
  echo "build.sh: $1" >&2
  exit 2
}
needs() { command -v "$1" >/dev/null || fail "$1 is not installed: $2"; }
needs git "an image is named by its commit"
git rev-parse --verify --quiet HEAD >/dev/null 2>&1 || fail "this is no checkout of git with a commit: an image is named by it"
needs python3 "it reads the version and makes the template"
if [[ -n $(git status --porcelain) ]]; then
  fail "the checkout has changes that no commit names: commit them first"
fi
weights=${WEIGHTS:-deploy/.no-weights}
case $weights in
  deploy/.no-weights) ;;
  *..*) fail "WEIGHTS=$weights leaves the folder weights/ of the checkout, from which the image is built" ;;
  weights | weights/*) [[ -e $weights ]] || fail "WEIGHTS=$weights is not there: put the file below weights/ in the checkout" ;;
  *) fail "WEIGHTS=$weights lies elsewhere: put the file below weights/ in the checkout" ;;
esac

# Base images by digest, and of this year: what a tag names changes, and old ones have known holes.
bases=()
while read -r name image made; do
  if [[ ! $image =~ @sha256:[0-9a-f]{64}$ || ${made:0:4} != $(date +%Y) ]]; then
    fail "$name is $image of ${made:-no day}: run deploy/pin.sh, look at it, commit it"
  fi
  bases+=(--build-arg "$name=$image")
done < <(cat deploy/images.lock 2>/dev/null)
if ((${#bases[@]} != 2 * $(grep -c '^ARG [A-Z]*_IMAGE=' deploy/Dockerfile))); then
  fail "deploy/images.lock does not name every base image: run deploy/pin.sh"
fi

needs docker "it builds the image"
docker buildx version >/dev/null 2>&1 || fail "docker has no buildx: install the plugin, the image is built with it"
needs gcloud "it puts the template into its bucket"
needs terraform "its state says where the image goes"
settings=$(terraform -chdir=deploy/terraform output -json settings 2>/dev/null) && [[ $settings == \{* ]] ||
  fail "Terraform has no state here: run init and apply in deploy/terraform first (docs/operator.md)"
if [[ $variant == cuda ]]; then
  python3 -c 'import tessera_mosaic' 2>/dev/null || fail "python3 has no tessera_mosaic: pip install -e '.[dataflow]', and take that environment"
fi

setting() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])" <<<"$settings"; }
repository=$(setting repository)
template=$(setting template)
revision=$(git rev-parse HEAD)
version=$(python3 -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')
# A time for files in layers, which would all be pushed anew if it were that of each commit.
epoch=$(git log -1 --format=%ct -- constraints.txt)
scratch=$(mktemp --directory)
trap 'rm -rf "$scratch"' EXIT
built=$scratch/built.json

# Provenance and a list of contents are more than docker's own builder can make.
builder=tessera-mosaic
docker buildx inspect "$builder" >/dev/null 2>&1 ||
  docker buildx create --name "$builder" --driver docker-container >/dev/null
docker buildx build . \
  --builder "$builder" \
  --file deploy/Dockerfile \
  --platform linux/amd64 \
  "${bases[@]}" \
  --build-arg TORCH_INDEX="$torch_index" \
  --build-arg WEIGHTS="$weights" \
  --build-arg VERSION="$version" \
  --build-arg REVISION="$revision" \
  --build-arg SOURCE_DATE_EPOCH="${epoch:-0}" \
  --provenance=true --sbom=true \
  --metadata-file "$built" \
  --output "type=image,name=$repository/mosaic:$variant-${revision:0:12},push=true,rewrite-timestamp=true"

digest=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$built")
image=$repository/mosaic@$digest
if [[ $variant == cuda ]]; then
  # A launch would fail on half a template: it is whole before the old one is replaced.
  spec=$scratch/spec.json
  if ! python3 -m deploy.template spec "$image" >"$spec" ||
    ! python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["image"] == sys.argv[2]' "$spec" "$image"; then
    fail "the template could not be made; the image is pushed, and the template in the bucket is as it was"
  fi
  gcloud storage cp "$spec" "$template"
fi
echo "$image"
