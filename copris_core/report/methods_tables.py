"""The tables of a comparison, as text, in the order in which they are read.

One column a method where there are many numbers, one row a method where there are few. Refuses to
judge: what the numbers mean is said by `methods_notes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial

from copris_core.report.compared import Method, RunData, Table
from copris_core.report.config_leaves import differences, settings, without_seed
from copris_core.report.cppo_table import cppo_table
from copris_core.report.equal_points import Curves, curves_of
from copris_core.report.equal_tables import equal_tables, target_table
from copris_core.report.methods_stats import (
    Measure,
    by_seed,
    difference,
    of,
    show_difference,
    show_over,
    show_times,
    times,
)
from copris_core.report.numbers import (
    UNKNOWN,
    show,
    show_accuracy,
    show_count,
    show_gap,
    show_seconds,
)
from copris_core.report.ratios import SPEEDUPS, per_second, per_step
from copris_core.report.summary import WARMUP_STEPS, Phases, Summary

OVER_SEEDS = (
    "Means over the seeds, in brackets the 95% interval (Student's t) where they differ; a hyphen: "
    "not measured."
)

MEASURES: dict[str, tuple[Callable[[Summary], float | None], int]] = {
    "accuracy before": (lambda x: x.accuracy.before, 3),
    "accuracy after": (lambda x: x.accuracy.after, 3),
    "training steps": (lambda x: x.steps, 0),
    "optimizer updates": (lambda x: x.optimizer_updates, 0),
    "training seconds": (lambda x: x.phases.total_s, 1),
    "seconds of the whole run": (lambda x: x.wall_s, 1),
    "samples finished": (lambda x: x.samples, 0),
    "tokens generated": (lambda x: x.generated_tokens, 0),
    "tokens trained on": (lambda x: x.trained_tokens, 0),
    "samples/s of generation": (lambda x: x.samples_per_s, 1),
    f"the same without the first {WARMUP_STEPS} steps": (lambda x: x.samples_per_s_steady, 1),
    "tokens/s of generation": (lambda x: per_second(x.generated_tokens, x.phases.generate), 0),
    "in-flight limit N'": (lambda x: x.concurrency, 0),
    "occupancy of the limit": (lambda x: x.occupancy, 3),
}
"""Rows of the table of methods: what is read, and decimals."""

SHARES = ("accuracy before", "accuracy after", "occupancy of the limit")
"""Those of them that can't be above 1."""

SPEEDUP_NAMES = {
    "samples_per_s": "samples/s of generation",
    "samples_per_s_steady": f"the same without the first {WARMUP_STEPS} steps",
    "tokens_per_s": "tokens/s of generation",
    "generate_s": "generate phase",
    "update_s": "update phase",
    "steps_wall": "training step (equal steps)",
    "samples_wall": "finished sample (equal samples)",
    "wall": "whole run, per step",
}
"""Rows of the table of ratios, by the keys of `ratios.SPEEDUPS`."""

STALENESS: dict[str, tuple[str, int]] = {
    "segments per trained response": ("staleness/segments_per_sample", 2),
    "share of trained tokens that is on-policy": ("staleness/on_policy_token_fraction", 2),
    "versions behind, mean": ("staleness/lag_mean", 2),
    "versions behind, most": ("staleness/lag_max", 0),
    "versions behind at the first token": ("staleness/first_token_lag", 2),
}
"""Rows of the table of staleness: column of metrics.jsonl, and decimals."""


def tables(methods: Sequence[Method]) -> tuple[Table, ...]:
    """Every table of the report; those without a row are left out.

    Args:
        methods: the first is the baseline.

    Raises:
        ValueError: if there is no method.
    """
    if not methods:
        raise ValueError("nothing to compare: give at least one run")
    curves = curves_of(methods)
    found = [
        methods_table(methods),
        *([ratio_table(methods)] if len(methods) > 1 else []),
        *_equal(curves),
        *cppo_table(methods, curves),
        phase_table(methods),
        staleness_table(methods),
        runs_table(methods),
        audit_table(methods),
        config_table(methods),
        version_table(methods),
    ]
    return tuple(table for table in found if table.rows)


def methods_table(methods: Sequence[Method]) -> Table:
    """What each method came to."""
    rows = [("seeds", *(", ".join(map(str, x.seeds)) for x in methods))]
    for name, (read, digits) in MEASURES.items():
        most = 1 if name in SHARES else None
        cells = [show_over(_each(x, of(read)), digits, most=most) for x in methods]
        rows.append((name, *cells))
    worst = [[x.summary.max_logprob_gap for x in each.runs] for each in methods]
    rows.append(("largest |engine - trainer| log-prob", *(_worst_gap(gaps) for gaps in worst)))
    return Table(
        title="Methods",
        remark=f"{OVER_SEEDS} Training seconds leave out start-up and validation.",
        header=("", *(x.label for x in methods)),
        rows=tuple(rows),
    )


def ratio_table(methods: Sequence[Method]) -> Table:
    """What each method has over the first."""
    base, *others = methods
    accuracy = of(lambda x: x.accuracy.after)
    gaps = [difference(by_seed(x, accuracy), by_seed(base, accuracy)) for x in others]
    rows = [("accuracy after, difference", *(show_difference(x, 3) for x in gaps))]
    for key, name in SPEEDUP_NAMES.items():
        read = of(SPEEDUPS[key])
        found = [times(by_seed(x, read), by_seed(base, read)) for x in others]
        rows.append((name, *map(show_times, found)))
    return Table(
        title=f"Against {base.label}",
        remark="Seed by seed, then the mean of the differences and the geometric mean of the "
        "ratios, in brackets the 95% interval (Student's t). Ratios above 1 are faster.",
        header=("", *(x.label for x in others)),
        rows=tuple(rows),
    )


def phase_table(methods: Sequence[Method]) -> Table:
    """Where the seconds of a training step went."""
    return Table(
        title="Seconds per training step",
        remark=OVER_SEEDS,
        header=("phase", *(x.label for x in methods)),
        rows=tuple(
            (
                field.name.replace("_", " "),
                *(show_over(_each(x, of(partial(_phase, field.name))), 2) for x in methods),
            )
            for field in fields(Phases)
        ),
    )


def staleness_table(methods: Sequence[Method]) -> Table:
    """How old the trained tokens were; only what some run measured."""
    rows = []
    for name, (key, digits) in STALENESS.items():
        reduce = max if key.endswith("_max") else _mean
        values = [[_over_steps(run, key, reduce) for run in x.runs] for x in methods]
        if any(value is not None for each in values for value in each):
            rows.append((name, *(show_over(each, digits) for each in values)))
    return Table(
        title="Staleness",
        remark=f"Means over the training steps. {OVER_SEEDS}",
        header=("", *(x.label for x in methods)),
        rows=tuple(rows),
    )


def runs_table(methods: Sequence[Method]) -> Table:
    """Every single run."""
    return Table(
        title="Runs",
        remark="±: one binomial standard error of the validation, which knows nothing of seeds.",
        header=("run", "steps", "accuracy", "training", "whole run", "max gap", "revision"),
        rows=tuple(
            (
                f"{method.label}, seed {run.summary.seed}",
                show_count(run.summary.steps),
                show_accuracy(run.summary.accuracy),
                show_seconds(run.summary.phases.total_s),
                show_seconds(run.summary.wall_s),
                show_gap(run.summary.max_logprob_gap),
                (run.summary.revision or UNKNOWN)[:12],
            )
            for method in methods
            for run in method.runs
        ),
    )


def audit_table(methods: Sequence[Method]) -> Table:
    """What the ledgers prove."""
    rows = []
    for method in methods:
        for run in method.runs:
            if (found := run.audit) is not None:
                bias = found.length_bias
                rows.append(
                    (
                        f"{method.label}, seed {run.summary.seed}",
                        show_count(found.groups["drawn"]),
                        show_count(found.groups["trained"]),
                        show_count(found.groups["live"]),
                        show_count(len(found.lost)),
                        show_count(len(found.duplicated)),
                        show_count(found.restarts),
                        UNKNOWN if bias is None else f"{bias.tokens:+.2f} ± {show(bias.stderr, 2)}",
                    )
                )
    header = ("run", "drawn", "trained", "live", "lost", "twice", "restarts", "length bias")
    return Table(
        title="Ledger audit",
        remark="Prompts: drawn, trained and still live at the end; lost or done twice: prompts and "
        "responses. Length bias: tokens by which trained responses are longer than finished ones, "
        "± one standard error. A run without a ledger has no row.",
        header=header,
        rows=tuple(rows),
    )


def config_table(methods: Sequence[Method]) -> Table:
    """Settings that are not the same in every method; without those of seed and place."""
    leaves = [without_seed(settings(x.runs[0].config)) for x in methods]
    return Table(
        title="Config differences",
        remark="Settings that are not the same everywhere. A hyphen: absent.",
        header=("key", *(x.label for x in methods)),
        rows=tuple(tuple(row) for row in differences(leaves)),
        words=True,
    )


def version_table(methods: Sequence[Method]) -> Table:
    """Packages and machine, all values that occurred."""
    names = sorted({name for x in methods for run in x.runs for name in run.summary.packages})
    rows = [(name, *(_values(x, partial(_version, name)) for x in methods)) for name in names]
    machine = sorted({name for x in methods for run in x.runs for name in run.machine})
    rows += [(name, *(_values(x, partial(_machine, name)) for x in methods)) for name in machine]
    return Table(
        title="Versions and machine",
        remark="At run time.",
        header=("", *(x.label for x in methods)),
        rows=tuple(rows),
        words=True,
    )


def _equal(curves: Curves) -> list[Table]:
    return [*equal_tables(curves), *target_table(curves)]


def _each(method: Method, measure: Measure) -> list[float | None]:
    return [measure(run) for run in method.runs]


def _phase(name: str, run: Summary) -> float | None:
    return per_step(getattr(run.phases, name), run)


def _over_steps(run: RunData, key: str, reduce: Callable[[Sequence[float]], float]) -> float | None:
    values = [value for row in run.rows if (value := row.get(key)) is not None]
    return reduce(values) if values else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _worst_gap(gaps: Sequence[float | None]) -> str:
    known = [gap for gap in gaps if gap is not None]
    return show_gap(max(known) if len(known) == len(gaps) else None)


def _values(method: Method, read: Callable[[RunData], str]) -> str:
    return ", ".join(dict.fromkeys(read(run) for run in method.runs))


def _version(name: str, run: RunData) -> str:
    return run.summary.packages.get(name, UNKNOWN)


def _machine(name: str, run: RunData) -> str:
    return str(run.machine.get(name, UNKNOWN))
