#!/usr/bin/env bash
# Evaluates a run or a model on GSM8K's test set, greedy, one sample, as CPPO's own script does.
# First word: a run folder, a Hugging Face folder or a hub id. Further words are copris eval's:
# --task gsm8k=FILE without the hub, --n 8 --temperature 0.6 for pass@k.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exec bash "$here/scripts/evaluate.sh" --task gsm8k --temperature 0 "$@"
