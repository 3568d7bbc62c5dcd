#!/usr/bin/env bash
# bash scripts/gpu_proof.sh [--out DIR] [--budget-minutes 30] [--platform cpu --small]
# On a machine with one GPU and requirements/gpu.txt installed: the tensor code against the CPU's, the
# bench beside stock verl on forced lengths up to 8k with a 0.5B model made here, the planner
# calibrated on it. Writes DIR/result.json and DIR/table.md (DIR: runs/gpu_proof).
# Cut off? The same command goes on. `--platform cpu --small` rehearses all of it without a GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The GPU set has no place of its own, unlike .venv: whatever python the shell has.
python=${PYTHON:-python}
"$python" -c 'import copris_core, verl' 2>/dev/null || python=.venv/bin/python
exec "$python" scripts/gpu_proof.py "$@"
