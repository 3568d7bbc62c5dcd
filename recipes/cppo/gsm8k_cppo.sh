#!/usr/bin/env bash
# CPPO on Qwen2.5-1.5B-Instruct and GSM8K: 2 GPUs of 80 GB.
# First word `check`: only say what the run would do. Further words are Hydra overrides:
# pruning.pruning_rate=7/8, run.dir=FOLDER to go on after a stop.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

exec bash scripts/experiment.sh cppo_gsm8k "$@"
