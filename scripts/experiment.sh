#!/usr/bin/env bash
# Trains a named experiment: scripts/experiment.sh NAME [check] [key=value ...]. With `check` it
# only says what the run would do. Uses the copris on the PATH, else that of .venv; installs nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly NAME=${1:?name an experiment: scripts/experiment.sh copris_r1_1p5b}
shift

command=train
if [[ ${1:-} == check ]]; then
    command=check
    shift
fi
copris=$(command -v copris || true)
[[ -n $copris || ! -x .venv/bin/copris ]] || copris=.venv/bin/copris
if [[ -z $copris ]]; then
    echo "copris is not installed: run the two pip lines of README.md, \"To GPUs\"" >&2
    exit 2
fi
exec "$copris" "$command" "experiment=$NAME" "$@"
