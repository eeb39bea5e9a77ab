#!/usr/bin/env bash
# What Slurm runs on a node; submit.sh submits it.
#   task.sh share PROGRAM STORE WORDS...      one task of the array: a share of the tiles
#   task.sh closing PROGRAM STORE WORDS...    after the array: what is left is made, the mosaic is
#                                             verified and published, and what failed is named
# Its exit code is that of the program: 3 where tiles failed or are missing, 130 where it was stopped.
set -uo pipefail
part=$1 program=$2 store=$3
words=("${@:4}" --store "$store")
again=

# A script hears signals only while it waits. SIGTERM (scancel, preemption) stops the program at the end
# of a block; Slurm may have sent it to all processes of the job, which makes no second one of it. When
# the time limit is near, SIGUSR1 comes to the script alone: then the job is queued again, too.
trap 'kill -TERM "$child" 2>/dev/null' TERM
trap 'again=yes; kill -TERM "$child" 2>/dev/null' USR1

if [[ $part == share ]]; then
  "$program" run "${words[@]}" --share auto &
else
  "$program" annual "${words[@]}" --rounds 1 &
fi
child=$!
# A signal ends the waiting, and not the program.
wait "$child"
while kill -0 "$child" 2>/dev/null; do wait "$child"; done
wait "$child"
code=$?

if [[ $again && $code -eq 130 ]]; then
  echo "the time limit is near: this job is queued again, and goes on where it stopped"
  scontrol requeue "$SLURM_JOB_ID"
  sleep 60
elif [[ $part == closing ]]; then
  "$program" status --store "$store"
fi
exit "$code"
