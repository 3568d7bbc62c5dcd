#!/usr/bin/env bash
# Evaluates a run or a model on MATH-500, greedy, one sample, as CPPO's own script does.
# First word: a run folder, a Hugging Face folder or a hub id. Further words are copris eval's:
# --task math500=FILE without the hub; --task amc23,aime24 --n 32 --temperature 0.6 for the paper's
# sets out of distribution.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
exec bash "$here/scripts/evaluate.sh" --task math500 --temperature 0 "$@"
