#!/usr/bin/env bash
# bash scripts/prorl_demo.sh [DIR] [key=value ...]
# A prolonged run on this machine's CPU, in three processes: each goes on from the checkpoint of the
# one before, as a user prolongs a run. Then DIR/prolonged.png and its numbers.
# Cut off? The same command goes on. STEPS="20 40 60" sets other ends of the three processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/env.sh
folder=runs/prorl_tiny/demo
if [[ $# -gt 0 && $1 != *=* ]]; then
    folder=$1
    shift
fi
for steps in ${STEPS:-80 160 240}; do
    # The seal of the checkpoint is its last file: this process, or a later one, is done.
    if [[ ! -f $folder/checkpoints/global_step_$steps/complete.json ]]; then
        .venv/bin/copris train experiment=prorl_tiny "run.dir=$folder" \
            "trainer.total_training_steps=$steps" "$@"
    fi
done
exec .venv/bin/copris picture "$folder"
