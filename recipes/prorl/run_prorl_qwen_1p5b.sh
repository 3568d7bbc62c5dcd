#!/usr/bin/env bash
# ProRL on DeepSeek-R1-Distill-Qwen-1.5B, the paper's first rounds: 8 GPUs of 80 GB.
# First word `check`: only say what the run would do. Further words are Hydra overrides:
# run.dir=FOLDER to go on after a stop; platform.nodes=4 platform.ray_address=auto for four nodes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

exec bash scripts/experiment.sh prorl_qwen_1p5b "$@"
