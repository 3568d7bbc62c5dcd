#!/usr/bin/env bash
# Makes or mends .venv: what requirements/cpu.lock pins, then this project in editable form.
# A second run installs nothing. PYTHON=/path/to/python picks the interpreter of a new .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly LOCK=requirements/cpu.lock VENV=.venv STAMP=.venv/copris.stamp LOG=.venv/install.log
readonly TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
installer=

stop() {
    printf 'environment: %s\n' "$1" >&2
    exit 1
}

# The checkout's place and its packages belong to it: an editable install points at them by name.
fingerprint() {
    { cat "$LOCK" pyproject.toml && pwd -P && ls -- {configs,copris_core,recipes}/__init__.py; } | sha256sum | cut -d ' ' -f 1
}

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

is_usable() {
    is_supported "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1
}

find_python() {
    local candidate candidates=(python3.11 python3.12 python3 python)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if is_supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    stop "$LOCK needs Python 3.11 or 3.12: install one, or name it: PYTHON=/path/to/python3.11"
}

# Runs one stage quietly, in a process group of its own so that Ctrl-C ends all of it.
stage() {
    local label=$1 started=$SECONDS
    shift
    printf 'environment: %s ...\n' "$label"
    set -m
    "$@" >>"$LOG" 2>&1 &
    installer=$!
    set +m
    while kill -0 "$installer" 2>/dev/null; do
        sleep 0.2
        [[ ! -t 1 ]] || printf '\r  %d s\r' "$((SECONDS - started))"
    done
    if ! wait "$installer"; then
        installer=
        tail -n 20 "$LOG" >&2
        stop "failed at: $label. The whole log is $LOG; mend the cause and run this again"
    fi
    installer=
}

pip_install() {
    "$VENV/bin/python" -m pip install --no-deps --disable-pip-version-check --no-input "$@"
}

# PyPI carries no +cpu build: where no configured index has it, PyTorch's own CPU index does.
install_torch() {
    pip_install "$1" || pip_install --index-url "$TORCH_CPU_INDEX" "$1"
}

# Prints the pins that are absent, of another version, or were cut off while being written. The
# latter lose what is left of their record, which pip would take for a whole package.
unsound_pins() {
    "$VENV/bin/python" - "$LOCK" <<'PY'
import csv
import pathlib
import re
import shutil
import sys
import sysconfig

SITE = pathlib.Path(sysconfig.get_path("purelib"))


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def is_whole(info: pathlib.Path) -> bool:
    if not (info / "RECORD").exists():
        return False
    with (info / "RECORD").open(newline="") as record:
        rows = [row for row in csv.reader(record) if not row[0].endswith(".pyc")]
    return all(
        (SITE / name).exists() and size in ("", str((SITE / name).stat().st_size))
        for name, _, size in rows
    )


found = {}
for info in SITE.glob("*.dist-info"):
    name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
    if is_whole(info):
        found.setdefault(plain(name), set()).add(version)
    else:
        shutil.rmtree(info)
for pin in pathlib.Path(sys.argv[1]).read_text().split("\n"):
    name, equals, version = pin.partition("==")
    if equals and not pin.startswith("#") and found.get(plain(name)) != {version}:
        print(pin)
PY
}

install_pins() {
    local pin
    for pin in "$@"; do
        [[ $pin != torch==* ]] || stage "PyTorch for the CPU" install_torch "$pin"
    done
    stage "$# packages of $LOCK (all of them take minutes)" pip_install "$@"
}

make_venv() {
    local python
    python=$(find_python)
    rm -rf "$VENV"
    mkdir "$VENV"
    stage "new $VENV from $python" "$python" -m venv "$VENV"
}

main() {
    local unsound pins
    if [[ -f $STAMP && $(<"$STAMP") == "$(fingerprint)" ]] && is_usable; then
        printf 'environment: %s is up to date, nothing to install\n' "$VENV"
        return
    fi
    is_usable || make_venv
    rm -f "$STAMP"
    unsound=$(unsound_pins)
    if [[ -n $unsound ]]; then
        mapfile -t pins <<<"$unsound"
        install_pins "${pins[@]}"
    fi
    stage "copris itself" pip_install --no-build-isolation --editable .
    stage "first import of the stack" "$VENV/bin/python" -c "import ray, torch, verl, vllm"
    fingerprint >"$STAMP"
    printf 'environment: %s is ready; source %s/bin/activate puts copris on the PATH\n' "$VENV" "$VENV"
}

trap '[[ -z $installer ]] || kill -- "-$installer" 2>/dev/null' EXIT
main
