#!/usr/bin/env bash
# copris eval with the copris on the PATH, else that of .venv; installs nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

copris=$(command -v copris || true)
[[ -n $copris || ! -x $here/.venv/bin/copris ]] || copris=$here/.venv/bin/copris
if [[ -z $copris ]]; then
    echo "copris is not installed: run the two pip lines of README.md, \"To GPUs\"" >&2
    exit 2
fi
exec "$copris" eval "$@"
