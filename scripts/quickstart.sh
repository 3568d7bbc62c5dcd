#!/usr/bin/env bash
# Trains GRPO, CoPRIS and CPPO on this machine's CPU and compares them: runs/quickstart/report.html.
# Further arguments are Hydra overrides for all three, or flags such as --seeds 3. Goes on where it
# was stopped; with other overrides, name another folder: --out runs/mine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/env.sh
exec .venv/bin/copris compare grpo copris cppo trainer.test_freq=5 --out runs/quickstart "$@"
