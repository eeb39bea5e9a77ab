#!/usr/bin/env bash
# Runs the array, waits for its end, and runs the closing job; see array.yaml.
#   deploy/kubernetes/submit.sh
# Needs kubectl, with the namespace chosen. Run again, it goes on: what is done stays done.
set -euo pipefail
cd "$(dirname "$0")"

ended() {
  kubectl get "job/$1" --output=jsonpath='{range .status.conditions[?(@.status=="True")]}{.type} {end}'
}

run() {
  # A job that has ended is not started again by applying it.
  kubectl delete "job/$1" --ignore-not-found --cascade=foreground
  kubectl apply --filename="$2"
  until [[ $(ended "$1") =~ Complete|Failed ]]; do
    sleep 30
  done
  echo "$1: $(ended "$1")"
}

run tessera-array array.yaml
run tessera-closing closing.yaml
kubectl logs job/tessera-closing
[[ $(ended tessera-closing) =~ Complete ]]
