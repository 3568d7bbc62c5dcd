#!/usr/bin/env bash
# bash scripts/chaos.sh N [SEED] [more arguments of scripts/chaos.py]
# Kills a real run N times at seeded moments, starts it again with the same command each time, and
# audits what came out. Each kill takes one start of the stack, a minute or two.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/env.sh
number=${1:?how many kills}
seed=0
if [[ ${2:-} =~ ^[0-9]+$ ]]; then
    seed=$2
    shift
fi
shift
exec .venv/bin/python scripts/chaos.py --kills "$number" --seed "$seed" "$@"
