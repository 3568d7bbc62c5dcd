#!/usr/bin/env bash
# Trains GRPO, CoPRIS and CPPO on this machine's CPU and compares them: runs/quickstart/report.html.
# Further arguments are Hydra overrides for all three.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/env.sh
exec .venv/bin/copris compare grpo copris cppo --out runs/quickstart trainer.test_freq=5 "$@"
