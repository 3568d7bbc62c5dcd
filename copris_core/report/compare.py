"""The comparison as the object of report.json. Its form has a version.

The first method is the baseline. Refuses to read files or to draw: methods in, one object out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from copris_core.report.compared import Method, RunData, Table
from copris_core.report.cppo_table import fewer_updates, prunes, pruning_facts
from copris_core.report.equal_points import (
    EqualReading,
    Reached,
    TargetReading,
    curves_of,
    equal_readings,
    time_to_accuracy,
)
from copris_core.report.methods_stats import by_seed, difference, of, times
from copris_core.report.ratios import SPEEDUPS, speedup

VERSION: Final = 2
"""Of the form of report.json; 1 had one run an experiment."""


def compare(
    methods: Sequence[Method],
    *,
    notes: Sequence[str],
    tables: Sequence[Table],
) -> dict[str, Any]:
    """Report on methods, the first being the baseline.

    Returns:
        ``methods``: label, runs with summary, audit and machine, what its config says of pruning;
        ``against``: each other method's ratios (`ratios.SPEEDUPS`) and accuracy difference, over
        the seeds; ``equal``: all methods where they had spent as much, by currency;
        ``time_to_accuracy``, ``fewer_updates``; ``notes`` and ``tables`` as shown.
        What was not measured is null.

    Raises:
        ValueError: if there is no method.
    """
    if not methods:
        raise ValueError("nothing to compare: give at least one run")
    base, *others = methods
    curves = curves_of(methods)
    target = time_to_accuracy(curves)
    return {
        "version": VERSION,
        "baseline": base.label,
        "methods": [_method(method, base) for method in methods],
        "against": {method.label: _against(method, base) for method in others},
        "equal": {x.currency: _equal(x) for x in equal_readings(curves)},
        "time_to_accuracy": None if target is None else _target(target),
        "fewer_updates": [asdict(found) for found in fewer_updates(curves)],
        "notes": list(notes),
        "tables": [asdict(table) for table in tables],
    }


def _method(method: Method, base: Method) -> dict[str, Any]:
    config = method.runs[0].config
    return {
        "label": method.label,
        "seeds": list(method.seeds),
        "pruning": asdict(pruning_facts(config)) if prunes(config) else None,
        "runs": [_run(run, base) for run in method.runs],
    }


def _run(run: RunData, base: Method) -> dict[str, Any]:
    """``speedup``: against the first method's run of the same seed; null where it has none."""
    first = next((x for x in base.runs if x.summary.seed == run.summary.seed), None)
    return {
        "folder": short(run.path),
        "summary": run.summary.to_json(),
        "speedup": None if first is None else speedup(run.summary, first.summary),
        "audit": None if run.audit is None else run.audit.to_json(),
        "machine": dict(run.machine),
    }


def short(path: Path) -> str:
    """The end of a path, which tells nothing of the machine's folders."""
    return "/".join(path.parts[-2:])


def _against(method: Method, base: Method) -> dict[str, Any]:
    sides = (method, base)
    found = {key: times(*(by_seed(x, of(read)) for x in sides)) for key, read in SPEEDUPS.items()}
    gap = difference(*(by_seed(x, of(lambda run: run.accuracy.after)) for x in sides))
    known = {**found, "accuracy_after": gap}
    return {key: None if value is None else asdict(value) for key, value in known.items()}


def _equal(reading: EqualReading) -> dict[str, Any]:
    return {"amount": reading.amount, "methods": _points(reading.methods)}


def _target(reading: TargetReading) -> dict[str, Any]:
    return {"accuracy": reading.accuracy, "methods": _points(reading.methods)}


def _points(methods: Sequence[Reached]) -> dict[str, Any]:
    """By label and seed."""
    return {
        method.label: {
            str(seed): None if point is None else asdict(point)
            for seed, point in method.points.items()
        }
        for method in methods
    }
