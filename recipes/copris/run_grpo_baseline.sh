#!/usr/bin/env bash
# GRPO with CoPRIS's model, data, order and engine settings: what CoPRIS is measured against.
# Further arguments are Hydra overrides, such as trainer.total_training_steps=5.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bash scripts/env.sh
exec .venv/bin/python -m copris_core.cli train experiment=grpo "$@"
