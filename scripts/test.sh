#!/usr/bin/env bash
# bash scripts/test.sh [fast] [pytest arguments]
# Without `fast`: every test, the pure core first, then verl's seams, then whole trainings.
# With `fast`: the pure core only, under a minute.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/env.sh
selection=()
if [[ ${1:-} == fast ]]; then
    shift
    selection=(-m "not verl and not e2e and not gpu and not slow" --durations 5)
    # Collecting these alone would import the stack.
    selection+=(--ignore tests/verl_adapter --ignore tests/e2e)
fi
exec .venv/bin/python -m pytest "${selection[@]}" "$@"
