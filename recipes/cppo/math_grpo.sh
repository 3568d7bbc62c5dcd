#!/usr/bin/env bash
# GRPO on Qwen2.5-7B-Instruct and MATH, on which CPPO is measured: 4 GPUs of 80 GB.
# First word `check`: only say what the run would do. Further words are Hydra overrides:
# seed=1, run.dir=FOLDER to go on after a stop.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

exec bash scripts/experiment.sh grpo_math "$@"
