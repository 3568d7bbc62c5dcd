"""Run folders in, methods out: runs that differ by their seed alone are one method.

Refuses to compute: what a file says is taken as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from copris_core.report.audit import Audit, audit
from copris_core.report.compared import Method, RunData
from copris_core.report.config_leaves import settings, without_seed
from copris_core.report.run_folder import RunFolder, read_config, read_json, read_metrics
from copris_core.report.summary import Summary, merge_steps
from copris_core.rollout.ledger import LEDGER_FILE, SavedLedger

DEPTH = 3
"""A folder of runs is searched this deep: a comparison has label and seed, others a time."""
MACHINE_FILE = "machine.json"
PLAN_FILE = "compare.json"
"""Beside the runs of a comparison: their labels."""

Told = Callable[[str], None]


def read_methods(
    groups: Iterable[tuple[str, Sequence[Path]]], *, on_torn: Told = warnings.warn
) -> tuple[Method, ...]:
    """Read the finished runs of each label; a label without any is left out.

    Args:
        groups: label and run folders of each method, the baseline first.
        on_torn: is told of a metrics line that a kill cut off.

    Raises:
        ValueError: a file of a run is missing or malformed, or a label has a seed twice.
    """
    methods = []
    for label, folders in groups:
        runs = sorted((read_run(x, on_torn=on_torn) for x in folders), key=_seed)
        seeds = [_seed(run) for run in runs]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{label} has two runs of one seed {seeds}: name one run a seed")
        if runs:
            methods.append(Method(label=label, runs=tuple(runs)))
    return tuple(methods)


def read_run(folder: Path, *, on_torn: Told = warnings.warn) -> RunData:
    """Read one finished run.

    Raises:
        ValueError: a file is missing or malformed; names it.
    """
    run = RunFolder(path=folder)
    machine = folder / MACHINE_FILE
    return RunData(
        path=folder,
        summary=Summary.from_json(read_json(run.summary_path)),
        rows=merge_steps(read_metrics(run.metrics_path, on_torn=on_torn)),
        config=read_config(run.config_path),
        audit=_audit(folder / LEDGER_FILE),
        machine=read_json(machine) if machine.is_file() else {},
    )


def finished_runs(place: Path) -> list[Path]:
    """The folder itself when it is a finished run, else those below it, as planned or by name."""
    if (place / "summary.json").is_file():
        return [place]
    patterns = ("*/" * depth + "summary.json" for depth in range(1, DEPTH + 1))
    found = (path.parent for pattern in patterns for path in place.glob(pattern))
    order = list(labels_in(place))
    return sorted(found, key=lambda run: (_place_in(order, run.relative_to(place)), run))


def labelled_runs(places: Sequence[Path]) -> list[tuple[str, Path]]:
    """Label and folder of every finished run in ``places``, which are run folders or hold some.

    The label is the one that a comparison gave to the run, else its experiment's name.

    Raises:
        ValueError: a place holds no finished run, or a summary is malformed.
    """
    found: list[tuple[str, Path]] = []
    for place in places:
        runs = finished_runs(place)
        if not runs:
            raise ValueError(f"{place} holds no finished run: give a folder with a summary.json")
        found += [(_label_of(run), run) for run in runs]
    return found


def labels_in(place: Path) -> dict[str, str]:
    """Labels by run folder, as the comparison in ``place`` noted them; empty without one."""
    plan = place / PLAN_FILE
    return dict(read_json(plan)["labels"]) if plan.is_file() else {}


def group_runs(runs: Sequence[tuple[str, Path]]) -> list[tuple[str, list[Path]]]:
    """Put runs of one label whose settings differ by the seed alone together.

    Of the same seed twice, the second begins a method of its own, so that a repeat shows what
    chance does.

    Raises:
        ValueError: a config or a summary is missing or malformed.
    """
    groups: list[tuple[str, dict[str, str], dict[int, Path]]] = []
    for label, folder in runs:
        seed = int(read_json(folder / "summary.json")["seed"])
        same = without_seed(settings(read_config(folder / "config.yaml")))
        fitting = (x for x in groups if x[:2] == (label, same) and seed not in x[2])
        group = next(fitting, None)
        if group is None:
            group = (label, same, {})
            groups.append(group)
        group[2][seed] = folder
    labels = distinct([label for label, _, _ in groups])
    return [
        (label, list(by_seed.values()))
        for label, (_, _, by_seed) in zip(labels, groups, strict=True)
    ]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, each later namesake numbered: ``grpo``, ``grpo #2``."""
    found: list[str] = []
    for name in names:
        number, label = 1, name
        while label in found:
            number += 1
            label = f"{name} #{number}"
        found.append(label)
    return found


def _label_of(run: Path) -> str:
    """A comparison lies two folders above its runs."""
    root = run.absolute().parents[1]
    given = labels_in(root).get(run.absolute().relative_to(root).as_posix())
    return given or str(read_json(run / "summary.json")["experiment"])


def _place_in(order: Sequence[str], run: Path) -> int:
    return order.index(run.as_posix()) if run.as_posix() in order else len(order)


def _seed(run: RunData) -> int:
    return run.summary.seed


def _audit(ledger: Path) -> Audit | None:
    return audit(SavedLedger(ledger)) if ledger.is_file() else None
