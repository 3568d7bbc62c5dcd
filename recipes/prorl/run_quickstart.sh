#!/usr/bin/env bash
# ProRL with the tiny model on this machine's CPU.
# Further arguments are Hydra overrides, such as trainer.total_training_steps=5.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bash scripts/env.sh
exec .venv/bin/python -m recipes.prorl.main "$@"
