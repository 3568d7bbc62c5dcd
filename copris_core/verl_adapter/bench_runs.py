"""Runs the cells of a bench one after another, each a ``copris train`` of its own.

A cell has failed when it ends badly or not in time; the next one goes on. bench.json is written
whole after each, and what is finished is not run again, so that the same command resumes.
"""

import contextlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import psutil

from copris_core.report.bench import BenchReport, BenchSetup, Failure
from copris_core.report.bench_cell import Cell, read_cell
from copris_core.report.bench_names import CellKey
from copris_core.report.bench_picture import draw_workload
from copris_core.report.run_folder import read_json, write_bytes, write_json
from copris_core.verl_adapter.bench_methods import (
    EVERY_RUN,
    METHODS,
    PRUNED,
    WORKLOADS,
    batch_overrides,
    method_overrides,
)
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.folder_lock import locked
from copris_core.verl_adapter.quoting import path_override

BENCH_FILE: Final = "bench.json"
TRAIN: Final = (sys.executable, "-m", "copris_core.cli", "train")
GRACE_S: Final = 60.0
"""A stopped run ends its processes itself in this time; then its process group is killed."""

IN_FLIGHT_PER_SAMPLE: Final = 2
"""N' over B n where nobody says: the authors' 1024 over 512, and oversample's factor."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BenchRun:
    """A bench that is to be run."""

    setup: BenchSetup
    """What is asked for."""
    out: Path
    """Folder of bench.json, the pictures and the run folders."""
    command: Sequence[str]
    """The words of the command line as they were typed."""
    cell_limit_s: float
    """Seconds after which a cell counts as hanging."""
    train: Sequence[str] = TRAIN
    """Command that trains, before its overrides."""
    grace_s: float = GRACE_S
    """Seconds a stopped cell may take to end."""


def refuse_unknown_names(setup: BenchSetup) -> None:
    """Refuse what could only fail later.

    Raises:
        ConfigError: an unknown workload or method, or a suffix that a method does not take.
    """
    for workload in setup.workloads:
        if workload not in WORKLOADS:
            raise ConfigError(_unknown("workload", workload, WORKLOADS))
    for method in setup.methods:
        base = method.removesuffix(PRUNED).partition("@")[0]
        if base not in METHODS:
            raise ConfigError(_unknown("method", base, METHODS))
        try:
            method_overrides(method)
        except ValueError as error:
            raise ConfigError(str(error)) from error


def refuse_wrong_overrides(run: BenchRun) -> None:
    """Read the first cell's config, so that a mistyped override does not fail every cell in turn.

    Raises:
        ConfigError: an unknown name, or an override that names no key or has a wrong value.
    """
    refuse_unknown_names(run.setup)
    if run.setup.overrides:
        from copris_core.verl_adapter.door import enter  # Hydra, which nobody else here needs

        key = run.setup.order[0]
        enter([*overrides_of(run.setup, key), path_override("run.dir", run.out / key.path)])


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    mend = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
    return f"unknown {kind} {name}: {mend}"


def overrides_of(setup: BenchSetup, key: CellKey) -> list[str]:
    """Overrides of one cell, without its folder; the user's own win."""
    concurrency = setup.concurrency or IN_FLIGHT_PER_SAMPLE * key.batch.samples
    return [
        *WORKLOADS[key.workload],
        *batch_overrides(key.batch.prompts, key.batch.group_size),
        *method_overrides(key.method, concurrency=concurrency),
        *EVERY_RUN,
        f"trainer.total_training_steps={setup.steps}",
        f"seed={setup.seed}",
        *setup.overrides,
    ]


def run_bench(run: BenchRun, *, say: Say = print) -> BenchReport:
    """Run what is not finished yet; write bench.json after each cell and the pictures at the end.

    Cells of an earlier bench in the same folder stay in the report.

    Raises:
        ConfigError: an unknown name, or ``run.out`` holds cells that were run otherwise.
    """
    refuse_unknown_names(run.setup)
    order = run.setup.order
    for key in order:
        _refuse_other_cell(run, key)
    report = _grown(empty_report(run), run)
    with _sigterm_raises():
        for number, key in enumerate(order, start=1):
            told = f"[{number}/{len(order)}] {key.path}: "
            found = _finished(run, key) or _run_cell(run, key)
            report = _with(report, found)
            _write(report, run.out)
            say(told + _said(found))
    write_pictures(report, run.out)
    return report


def _grown(report: BenchReport, run: BenchRun) -> BenchReport:
    """The same with what an earlier bench in this folder has finished besides."""
    if not (run.out / BENCH_FILE).is_file():
        return report
    try:
        old = BenchReport.from_json(read_json(run.out / BENCH_FILE))
        setup = report.setup.after(old.setup)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    mine = set(run.setup.order)
    return replace(
        report,
        setup=setup,
        cells=tuple(cell for cell in old.cells if cell.key not in mine),
        failures=tuple(each for each in old.failures if each.key not in mine),
    )


def reread(run_out: Path) -> BenchReport:
    """Read the finished cells of a bench anew; write bench.json and the pictures.

    Raises:
        ConfigError: no bench there, or a cell cannot be read.
    """
    try:
        old = BenchReport.from_json(read_json(run_out / BENCH_FILE))
        report = replace(old, cells=(), failures=())
        failed = {failure.key.path: failure for failure in old.failures}
        for key in old.setup.order:
            if (run_out / key.path / "summary.json").is_file():
                report = _with(report, _read(run_out, key, old.setup))
            elif key.path in failed:
                report = _with(report, failed[key.path])
    except ValueError as error:
        raise ConfigError(str(error)) from error
    _write(report, run_out)
    write_pictures(report, run_out)
    return report


def empty_report(run: BenchRun) -> BenchReport:
    """A report without cells."""
    overrides = tuple(without_paths(word, among=PATH_IN_WORD) for word in run.setup.overrides)
    return BenchReport(
        setup=replace(run.setup, overrides=overrides),
        command=shlex.join(without_paths(word, among=PATH_IN_WORD) for word in run.command),
        machine=machine(),
        cells=(),
        failures=(),
    )


def write_pictures(report: BenchReport, out: Path) -> list[Path]:
    """One PNG for each workload that has a finished cell."""
    paths = []
    for workload in report.setup.workloads:
        groups = [group for group in report.groups if group.workload == workload]
        if groups:
            paths.append(out / f"bench_{workload}.png")
            write_bytes(paths[-1], draw_workload(groups))
    return paths


def machine() -> dict[str, Any]:
    """What it ran on: numbers and models, no name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "cpu": models[0] if models else platform.machine(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


PATH_IN_TEXT: Final = r"(?<![\w.])/(?:[^\s/:,'\"]+/)+"
PATH_IN_WORD: Final = r"(?<![\w.])/(?:[^/:,'\"]+/)+"
"""All of an absolute path but its last part; within one word it may hold blanks."""


def without_paths(text: str, *, among: str = PATH_IN_TEXT) -> str:
    """Cut absolute paths down to their last part: bench.json tells nothing of the machine's."""
    return re.sub(among, ".../", text)


# ---- one cell ----


def _marker(run: BenchRun, key: CellKey) -> Path:
    """What the cell is run with, beside its folder: the folder is the run's own."""
    return run.out / f"{key.path}.json"


def _refuse_other_cell(run: BenchRun, key: CellKey) -> None:
    folder, marker = run.out / key.path, _marker(run, key)
    if not (folder / "summary.json").is_file():
        return
    known = read_json(marker)["overrides"] if marker.is_file() else None
    if known != overrides_of(run.setup, key):
        raise ConfigError(
            f"{folder} was run with other settings: name another --out, or remove that folder"
        )


def _finished(run: BenchRun, key: CellKey) -> Cell | None:
    folder = run.out / key.path
    return _read_cell(run, key) if (folder / "summary.json").is_file() else None


def _read_cell(run: BenchRun, key: CellKey) -> Cell:
    try:
        return _read(run.out, key, run.setup)
    except ValueError as error:
        raise ConfigError(f"{error}; or remove the folder and run it anew") from error


def _read(out: Path, key: CellKey, setup: BenchSetup) -> Cell:
    return read_cell(out / key.path, key, warmup_steps=setup.warmup_steps)


def _run_cell(run: BenchRun, key: CellKey) -> Cell | Failure:
    folder, marker = run.out / key.path, _marker(run, key)
    overrides = overrides_of(run.setup, key)
    _remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_json(marker, {"overrides": overrides})
    began_s = time.monotonic()
    words = [*run.train, *overrides, path_override("run.dir", folder)]
    reason = _train(words, folder, limit_s=run.cell_limit_s, grace_s=run.grace_s)
    if reason is None:
        try:
            return _read(run.out, key, run.setup)
        except ValueError as error:
            reason = str(error)
    seconds = time.monotonic() - began_s
    return Failure(key=key, reason=without_paths(reason), seconds=round(seconds, 1))


def _remove(folder: Path) -> None:
    """Remove what an unfinished cell left; one that a killed bench left behind may still run.

    Raises:
        ConfigError: it does.
    """
    if folder.is_dir():
        with locked(folder):
            pass
        shutil.rmtree(folder)


def _train(words: Sequence[str], folder: Path, *, limit_s: float, grace_s: float) -> str | None:
    """Train in a session of its own; why it came to nothing, or None."""
    log = folder.with_name(f"{folder.name}.log")
    with log.open("w") as output:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            return f"did not end in {limit_s:.0f} s, in phase {_phase_of(folder)!r}"
        finally:
            _end(process, grace_s)
    if code == 0:
        return None
    return f"exit code {code}: {_last_line(log)}"


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """End a process that still runs: ask it first, then kill its process group."""
    if process.poll() is not None:
        return
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _phase_of(folder: Path) -> str:
    phase = folder / "phase.json"
    return str(read_json(phase)["text"]) if phase.is_file() else "start"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """A stopped bench stops its cell too."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ---- the report ----


def _with(report: BenchReport, found: Cell | Failure) -> BenchReport:
    if isinstance(found, Cell):
        return replace(report, cells=(*report.cells, found))
    return replace(report, failures=(*report.failures, found))


def _write(report: BenchReport, out: Path) -> None:
    write_json(out / BENCH_FILE, report.to_json())


def _said(found: Cell | Failure) -> str:
    if isinstance(found, Failure):
        return f"failed after {found.seconds:.0f} s: {found.reason}"
    rollout = found.samples / found.generate_s if found.generate_s else 0.0
    step = found.samples / sum(found.step_s)
    return f"{found.wall_s or 0:.0f} s, {rollout:.1f} rollout samples/s, {step:.1f} in all"
