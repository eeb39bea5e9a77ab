#!/usr/bin/env bash
# Builds the image on this machine and pushes nothing, with Docker, BuildKit or buildah, whichever is
# there: `make image`.
#   deploy/image.sh [NAME]             (tessera-mosaic)
# PYTHON_IMAGE, BEAM_IMAGE and LAUNCHER_IMAGE name other base images than the Dockerfile, TORCH_INDEX
# PyTorch's index of CPU wheels, WEIGHTS=weights/FILE weights to bake in, and BUILDER one of docker,
# buildkit, buildah. Words in BUILD_OPTIONS go to the builder as they are. BuildKit, which keeps no
# images, writes build/image/NAME.tar.
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:-tessera-mosaic}
fail() {
  echo "image.sh: $1" >&2
  exit 2
}
works() {
  case $1 in
    docker) docker info >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 ;;
    buildkit) buildctl debug workers >/dev/null 2>&1 ;;
    buildah) command -v buildah >/dev/null ;;
    *) fail "there is no builder '$1': take docker, buildkit or buildah" ;;
  esac
}
if [[ -n ${BUILDER:-} ]]; then
  works "$BUILDER" || fail "$BUILDER does not answer here"
else
  for BUILDER in docker buildkit buildah none; do
    [[ $BUILDER == none ]] && fail "neither Docker with buildx, BuildKit nor buildah answers here: install one"
    works "$BUILDER" && break
  done
fi

arguments=()
for argument in PYTHON_IMAGE BEAM_IMAGE LAUNCHER_IMAGE TORCH_INDEX WEIGHTS; do
  [[ -z ${!argument:-} ]] || arguments+=("$argument=${!argument}")
done
arguments+=("VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)")
if command -v git >/dev/null && git rev-parse --verify --quiet HEAD >/dev/null 2>&1; then
  epoch=$(git log -1 --format=%ct -- constraints.txt)
  arguments+=("REVISION=$(git rev-parse HEAD)" "SOURCE_DATE_EPOCH=${epoch:-0}")
fi
read -ra options <<<"${BUILD_OPTIONS:-}"

echo "image.sh: $name by $BUILDER"
case $BUILDER in
  docker)
    docker buildx build . --file deploy/Dockerfile --load --tag "$name" \
      "${arguments[@]/#/--build-arg=}" "${options[@]}"
    ;;
  buildkit)
    mkdir -p build/image
    buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=deploy \
      "${arguments[@]/#/--opt=build-arg:}" "${options[@]}" \
      --output "type=oci,name=$name,dest=build/image/$name.tar"
    ;;
  buildah)
    # Its cache of layers takes old ones for new where a mounted stage has changed.
    buildah build --file deploy/Dockerfile --ignorefile deploy/Dockerfile.dockerignore --no-cache \
      --tag "$name" "${arguments[@]/#/--build-arg=}" "${options[@]}" .
    ;;
esac
