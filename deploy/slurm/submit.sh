#!/usr/bin/env bash
# Submits the array and its closing job; cpu.sh and gpu.sh source it after the site's variables.
# shellcheck disable=SC2154  # which these set
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [[ -z $YEAR ]]; then
  YEAR=$("$(dirname "$TESSERA")/python" -c '
import datetime
from tessera_mosaic.yearly import last_complete_year
print(last_complete_year(datetime.datetime.now(datetime.UTC).date()))')
fi
mkdir -p "$LOGS"
words=("$TESSERA" "$STORE" --catalog "$CATALOG" --region "$REGION" --year "$YEAR" "${OPTIONS[@]}")
common=("${SITE[@]}" --parsable --requeue --open-mode=append --signal="B:USR1@$NOTICE")

# A task that Slurm starts again, because its node failed or it was preempted, goes on.
array=$(sbatch "${common[@]}" --job-name="tessera-$YEAR" --array="0-$((SHARES - 1))%$AT_ONCE" \
  --output="$LOGS/tessera-$YEAR-%A_%a.log" "$here/task.sh" share "${words[@]}")
# Whatever became of the tasks, the closing job takes up what they left.
closing=$(sbatch "${common[@]}" --job-name="tessera-$YEAR-closing" --dependency="afterany:$array" \
  --output="$LOGS/tessera-$YEAR-%j-closing.log" "$here/task.sh" closing "${words[@]}")
echo "array $array: $SHARES shares of $YEAR; closing job $closing; logs in $LOGS"
echo "$TESSERA status --store $STORE    tells how far each share is"
