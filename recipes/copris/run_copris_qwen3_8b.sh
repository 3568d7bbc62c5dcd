#!/usr/bin/env bash
# CoPRIS on Qwen3-8B: 8 GPUs of 80 GB.
# First word `check`: only say what the run would do. Further words are Hydra overrides:
# run.dir=FOLDER to go on after a stop; platform.nodes=2 platform.ray_address=auto for two nodes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

exec bash scripts/experiment.sh copris_qwen3_8b "$@"
