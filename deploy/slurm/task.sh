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

# SIGTERM (scancel, preemption) goes to all processes of a job, and stops the program at the end of a
# block; a second one would stop it at once, so the script only waits for it. SIGUSR1 (the time limit
# is near) goes to the script alone: the program is stopped likewise, and the job is queued again.
trap : TERM
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
