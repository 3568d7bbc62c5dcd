"""What a bench says, in sentences. Refuses to compute: that is `bench_groups`."""

from __future__ import annotations

from collections.abc import Iterator

from copris_core.report.bench import BenchReport
from copris_core.report.bench_cell import Cell
from copris_core.report.bench_goals import FLAT, PRUNED_SLACK
from copris_core.report.bench_groups import Group, MethodReading
from copris_core.report.bench_lag import EqualLag
from copris_core.report.bench_names import ASYNC, COPRIS
from copris_core.report.bench_stats import Spread
from copris_core.report.numbers import show, show_ratio

SUM_TOLERANCE = 0.01
"""Share of a step by which its pieces may miss it before it is said."""

LAG_NAMES = {"lag_mean": "mean lag of a token", "first_token_lag": "mean lag of the first token"}


def words(report: BenchReport) -> list[str]:
    """All sentences, what weakens the numbers first."""
    return [
        *_warnings(report),
        *(sentence for group in report.groups for sentence in _group(group)),
    ]


def show_spread(found: Spread | None, digits: int, *, unit: str = "") -> str:
    """``12.3 (11.9..12.8)``: the median, and the range where there is more than one round."""
    if found is None:
        return show(None, digits)
    text = f"{found.median:.{digits}f}{unit}"
    return text if found.n == 1 else f"{text} ({found.low:.{digits}f}..{found.high:.{digits}f})"


def _warnings(report: BenchReport) -> Iterator[str]:
    missing = len(report.setup.order) - len(report.cells) - len(report.failures)
    if missing:
        yield f"{missing} of {len(report.setup.order)} cells have not run yet"
    for failure in report.failures:
        yield f"failed: {failure.key.path} after {failure.seconds:.0f} s: {failure.reason}"
    if len(report.revisions) > 1:
        yield f"the cells are of several revisions ({', '.join(report.revisions)}): don't compare"
    for cell in report.cells:
        yield from _cell_warnings(cell)


def _cell_warnings(cell: Cell) -> Iterator[str]:
    if cell.note:
        yield f"{cell.key.path}: {cell.note}, so its generation is not split"
    off = abs(cell.waterfall.total - sum(cell.step_s)) / sum(cell.step_s)
    if off > SUM_TOLERANCE:
        yield f"{cell.key.path}: the pieces miss the step's seconds by {off:.1%}"


def _group(group: Group) -> Iterator[str]:
    place = f"{group.workload} {group.batch}"
    if group.baseline is None:
        yield f"{place}: neither sync nor sync_released was measured, so there are no ratios"
    ours = group.reading(COPRIS)
    if ours is not None and group.baseline:
        yield f"{place}: {_against_baseline(group, ours)}"
    if group.equal_lag:
        yield f"{place}: {_at_equal_lag(group.equal_lag)}"
    for each in group.pruning:
        yield (
            f"{place}: CPPO with P = {each.pruning_rate:.2f} over {each.method} takes "
            f"{show_spread(each.update_ratio, 2, unit='x')} of the update's seconds; wanted at "
            f"most {1 - each.pruning_rate + PRUNED_SLACK:.2f}x"
        )


def _against_baseline(group: Group, ours: MethodReading) -> str:
    step = show_spread(ours.ratios["step_samples_per_s"], 2, unit="x")
    rollout = show_spread(ours.ratios["generate_samples_per_s"], 2, unit="x")
    measured = (
        f"{COPRIS} has {rollout} the rollout samples/s and {step} the whole-step samples/s "
        f"of {group.baseline}"
    )
    if group.workload == FLAT:
        return f"all responses are equally long, so partial rollout has nothing to gain; {measured}"
    limits = [
        f"{show(limit.of_limit, 2)} of the {show_ratio(limit.step)} that {LIMIT_NAMES[kind]} allow"
        for kind, limit in ours.limits.items()
    ]
    return f"{measured}; {', '.join(limits) or 'its limit was not measured'}"


LIMIT_NAMES = {"slots": "the empty slots", "cost": "this engine's costs at its width"}


def _at_equal_lag(found: EqualLag) -> str:
    points = ", ".join(f"{point.method} {point.lag:.2f}" for point in found.points)
    text = (
        f"at the {LAG_NAMES[found.measure]} of {ASYNC}, {found.lag:.2f} ({points}), {COPRIS} has "
        f"{show_spread(found.generate_ratio, 2, unit='x')} its rollout samples/s and "
        f"{show_spread(found.step_ratio, 2, unit='x')} its whole-step samples/s"
    )
    if not found.outside:
        return text
    return f"{text}; no two N' enclose that lag in every round, nearest: {', '.join(found.outside)}"
