"""What the bench was to show, beside what it shows. Every goal is a row, measured or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from copris_core.report.bench_groups import Group
from copris_core.report.bench_names import ASYNC, BASELINE, COPRIS, Batch
from copris_core.report.bench_stats import Spread

SMALL, LARGE = Batch(4, 8), Batch(16, 8)
BATCHES: Final = (SMALL, LARGE)
FLAT: Final = "uniform"
"""The workload without a tail."""
HEAVY: Final = "longtail-heavy"
TAILED: Final = ("days", "longtail", HEAVY)
WORKLOADS: Final = (*TAILED, FLAT)

ROLLOUT_TIMES: Final = {SMALL: 2.5, LARGE: 1.4}
"""Rollout samples/s of CoPRIS over the baseline on ``longtail``."""
OF_LIMIT: Final = 0.95
OCCUPANCY: Final = 0.97
ASYNC_TIMES, ASYNC_TIMES_HEAVY = 1.0, 1.15
FLAT_TIMES: Final = 0.95
PRUNED_SLACK: Final = 0.05


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal."""

    kind: str
    """What is to hold."""
    where: str
    """Workload and batch, or what else was to be measured."""
    measured: float | None
    """What was measured; None: not measured."""
    wanted: float
    """The bound."""
    is_upper: bool = False
    """Whether ``wanted`` must not be passed; else it must be reached."""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None: not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.wanted if self.is_upper else self.measured >= self.wanted


def goals(groups: Sequence[Group]) -> tuple[Goal, ...]:
    """All goals over the groups that were measured, and over those that should have been."""
    found = {(group.workload, group.batch): group for group in groups}
    rows: list[Goal] = []
    for batch, times in ROLLOUT_TIMES.items():
        rows.append(
            Goal(
                kind=f"rollout samples/s, {COPRIS} / {BASELINE}",
                where=f"longtail {batch}",
                measured=_asked(found.get(("longtail", batch)), _rollout_ratio),
                wanted=times,
            )
        )
    for kind, question, wanted, workloads in PER_GROUP:
        for workload, batch in _places(found, workloads):
            rows.append(
                Goal(
                    kind=kind,
                    where=f"{workload} {batch}{_remark(found.get((workload, batch)), question)}",
                    measured=_asked(found.get((workload, batch)), question),
                    wanted=wanted,
                )
            )
    return (*rows, *_pruning_goals(found), *LOSS_GOALS)


def _places(
    found: dict[tuple[str, Batch], Group], workloads: Sequence[str]
) -> Iterator[tuple[str, Batch]]:
    """Workloads and batches that a goal names, and other batches that were measured besides."""
    batches = sorted({*BATCHES, *(batch for _, batch in found)})
    for workload in workloads:
        for batch in batches:
            if batch in BATCHES or (workload, batch) in found:
                yield workload, batch


def _asked(group: Group | None, question: Callable[[Group], float | None]) -> float | None:
    return None if group is None else question(group)


def _remark(group: Group | None, question: Callable[[Group], float | None]) -> str:
    """What the measured number falls short of."""
    if question is not _at_equal_lag or group is None or group.equal_lag is None:
        return ""
    nearest = ", ".join(group.equal_lag.outside)
    ratio = group.equal_lag.generate_ratio.median
    return f" (lag not reached; {ratio:.2f} at the nearest, {nearest})" if nearest else ""


def _ratio_to_sync(group: Group, name: str) -> float | None:
    ours = group.reading(COPRIS)
    if ours is None or group.baseline != BASELINE:
        return None
    return _median(ours.ratios[name])


def _rollout_ratio(group: Group) -> float | None:
    return _ratio_to_sync(group, "generate_samples_per_s")


def _flat_ratio(group: Group) -> float | None:
    return _ratio_to_sync(group, "step_samples_per_s")


def _of_limit(kind: str) -> Callable[[Group], float | None]:
    def question(group: Group) -> float | None:
        ours = group.reading(COPRIS)
        if ours is None or group.baseline != BASELINE or kind not in ours.limits:
            return None
        return ours.limits[kind].of_limit

    return question


def _occupancy(group: Group) -> float | None:
    ours = group.reading(COPRIS)
    return None if ours is None else _median(ours.values["occupancy"])


def _at_equal_lag(group: Group) -> float | None:
    """None where the lag was not reached: a ratio at another lag is not the goal's."""
    if group.equal_lag is None or group.equal_lag.outside:
        return None
    return group.equal_lag.generate_ratio.median


def _median(found: Spread | None) -> float | None:
    return None if found is None else found.median


PER_GROUP: Final[tuple[tuple[str, Callable[[Group], float | None], float, Sequence[str]], ...]] = (
    ("whole step / its limit by slots", _of_limit("slots"), OF_LIMIT, TAILED),
    ("whole step / its limit by the cost curve", _of_limit("cost"), OF_LIMIT, TAILED),
    (
        f"rollout samples/s, {COPRIS} / {ASYNC} at equal lag",
        _at_equal_lag,
        ASYNC_TIMES_HEAVY,
        [HEAVY],
    ),
    (
        f"rollout samples/s, {COPRIS} / {ASYNC} at equal lag",
        _at_equal_lag,
        ASYNC_TIMES,
        [name for name in WORKLOADS if name != HEAVY],
    ),
    (f"occupancy of {COPRIS}", _occupancy, OCCUPANCY, WORKLOADS),
    (f"no tail: step samples/s, {COPRIS} / {BASELINE}", _flat_ratio, FLAT_TIMES, [FLAT]),
)
"""What is to hold, of which number of a group, the least it may be, on which workloads."""


def _pruning_goals(found: dict[tuple[str, Batch], Group]) -> Iterator[Goal]:
    """Update seconds, pruned over unpruned, at most 1 - P + 5%."""
    kind = "update phase, pruned / unpruned"
    readings = [(group, each) for group in found.values() for each in group.pruning]
    for group, each in readings:
        yield Goal(
            kind=kind,
            where=f"{group.workload} {group.batch}, {each.method}",
            measured=each.update_ratio.median,
            wanted=1 - each.pruning_rate + PRUNED_SLACK,
            is_upper=True,
        )
    if not readings:
        # Of the pruning rate that configs/pruning/cppo.yaml has.
        yield Goal(kind=kind, where="any", measured=None, wanted=0.5 + PRUNED_SLACK, is_upper=True)


LOSS_GOALS: Final = tuple(
    Goal(
        kind=f"{what} of our loss / verl's vanilla, 64 x 8192",
        where="scripts/bench_loss.py",
        measured=None,
        wanted=1.05,
        is_upper=True,
    )
    for what in ("time", "peak memory")
)
"""Measured by a file of its own."""
