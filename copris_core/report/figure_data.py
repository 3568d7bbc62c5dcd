"""What the comparison's pictures show, in numbers: methods in, lines over the seeds out.

Refuses to draw and to fill gaps: a seed that did not measure something takes no part in its line,
and a line ends where the first of its seeds ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from copris_core.report.compared import Method, RunData
from copris_core.report.run_folder import Row
from copris_core.report.summary import training

Pick = Callable[[Row], float | None]
"""Reads one number of a step; None where the step did not measure it."""

LAGS = (0, 1, 2, 3)
"""Lags that the metrics tell apart, in policy versions; the last means "this or more"."""

MOST_POINTS = 250
"""Points of a line; of more, as many are shown, evenly spread, the first and the last among them:
a page of long runs stays small."""

SMOOTHED_STEPS = 5
"""Bold lines of noisy numbers are means of this many steps up to the one shown."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measured number of one run."""

    step: int
    """Training step; 0 is before the first update."""
    seconds: float | None
    """Seconds of training steps up to the end of this one; None where one was not timed."""
    value: float
    """What was measured."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method over its seeds; the four tuples are equally long."""

    x: tuple[float, ...]
    """Training steps or training seconds, rising."""
    mean: tuple[float, ...]
    """Mean over the seeds."""
    low: tuple[float, ...]
    """Lowest seed."""
    high: tuple[float, ...]
    """Highest seed."""
    num_seeds: int
    """Seeds that measured it."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One number of a method over its seeds."""

    mean: float
    """Mean over the seeds that measured it."""
    low: float
    """Lowest seed."""
    high: float
    """Highest seed."""


def key(name: str, *others: str) -> Pick:
    """The first of these metrics that a step has."""

    def pick(row: Row) -> float | None:
        return next((row[each] for each in (name, *others) if row.get(each) is not None), None)

    return pick


def clip_fraction(lags: Sequence[int]) -> Pick:
    """Share of the trained tokens of these lags whose ratio was clipped; lags are of `LAGS`.

    Buckets are weighted by their tokens; None for a step without a token of them.
    """

    def pick(row: Row) -> float | None:
        pairs = [
            (row.get(f"lag{x}/clip_fraction"), row.get(f"lag{x}/token_fraction")) for x in lags
        ]
        known = [(clipped, share) for clipped, share in pairs if clipped is not None and share]
        tokens = sum(share for _, share in known)
        return sum(clipped * share for clipped, share in known) / tokens if tokens else None

    return pick


def course(run: RunData, pick: Pick, *, window: int = 1) -> list[Point]:
    """What a run measured, by step, as trailing means over ``window`` measurements."""
    points: list[Point] = []
    values: list[float] = []
    seconds: float | None = 0.0
    for row in run.rows:
        if training(row):
            took = row.get("timing_s/step")
            seconds = None if seconds is None or took is None else seconds + took
        value = pick(row)
        if value is None:
            continue
        values.append(value)
        recent = values[-window:]
        mean = sum(recent) / len(recent)
        points.append(Point(step=int(row["step"] or 0), seconds=seconds, value=mean))
    return points


def along_steps(method: Method, pick: Pick, *, window: int = 1) -> Line | None:
    """The line over the steps that every seed measured; None where there is none."""
    courses = [each for run in method.runs if (each := course(run, pick, window=window))]
    if not courses:
        return None
    by_step = [{point.step: point.value for point in each} for each in courses]
    steps = sorted(set.intersection(*(set(each) for each in by_step)))
    if not steps:
        return None
    return _line(steps, [[each[step] for step in steps] for each in by_step])


def along_seconds(method: Method, pick: Pick, *, window: int = 1) -> Line | None:
    """The line over training seconds, without start-up and validation; None where there is none.

    Seeds reach their steps at different times: between its measurements a seed is taken as
    straight, and the line has as many points as the seed that measured least, evenly spread.
    """
    courses = [each for run in method.runs if (each := _timed(course(run, pick, window=window)))]
    if not courses:
        return None
    if len(courses) == 1:
        times = np.array([seconds for seconds, _ in courses[0]])
    else:
        first = max(each[0][0] for each in courses)
        last = min(each[-1][0] for each in courses)
        if last < first:
            return None
        times = np.linspace(first, last, min(len(each) for each in courses))
    seeds = []
    for each in courses:
        seconds, values = zip(*each, strict=True)
        seeds.append(np.interp(times, np.array(seconds), np.array(values)).tolist())
    return _line(times.tolist(), seeds)


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and range of the seeds that measured something; None where none did."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(mean=sum(known) / len(known), low=min(known), high=max(known))


def lag_shares(run: RunData) -> tuple[float, ...] | None:
    """Share of the run's trained tokens in each of `LAGS`; None where no step tells."""
    told = [row for row in run.rows if any(f"lag{k}/token_fraction" in row for k in LAGS)]
    tokens = np.array([row.get("tokens/trained") or 0.0 for row in told])
    if not tokens.sum():
        return None
    shares_SL = np.array([[row.get(f"lag{k}/token_fraction") or 0.0 for k in LAGS] for row in told])
    return tuple((tokens @ shares_SL / tokens.sum()).tolist())


PIECES = (
    ("generate_full", "generating, full width"),
    ("tail_bubble", "empty slots"),
    ("waiting", "starting and stopping"),
    ("unsplit", "generating, not split"),
    ("old_log_prob", "old log-probs"),
    ("ref", "reference log-probs"),
    ("update", "update"),
    ("weight_sync", "weight sync"),
    ("other", "other"),
)
"""Pieces of a training step, in the order in which they come, and how they are called."""


def step_pieces(run: RunData) -> dict[str, float] | None:
    """Mean seconds of a training step by `PIECES`; together they are the step. None if untimed.

    While the gate is open for o seconds at an occupancy q, o q of them would have done at full
    width and o (1 - q) went to empty slots; generation outside these is starting and stopping.
    Where a step measured no occupancy its generation is not split.
    """
    rows = [row for row in run.rows if training(row) and row.get("timing_s/step") is not None]
    if not rows:
        return None
    sums = dict.fromkeys((name for name, _ in PIECES), 0.0)
    for row in rows:
        for name, seconds in _generation(row).items():
            sums[name] += seconds
        for name in ("old_log_prob", "ref", "update", "weight_sync", "other"):
            sums[name] += row.get(f"timing_s/{name}") or 0.0
    return {name: seconds / len(rows) for name, seconds in sums.items()}


def _generation(row: Row) -> dict[str, float]:
    generate_s, open_s = row.get("timing_s/generate") or 0.0, row.get("rollout/open_s")
    occupancy = row.get("rollout/occupancy")
    if occupancy is None and open_s is not None:
        return {"waiting": generate_s}  # the gate had no need to open, or hardly any
    if occupancy is None:
        return {"unsplit": generate_s}
    # Runs of the first versions did not tell how long the gate was open.
    open_s = generate_s if open_s is None else min(open_s, generate_s)
    full_s = open_s * min(1.0, occupancy)
    return {
        "generate_full": full_s,
        "tail_bubble": open_s - full_s,
        "waiting": generate_s - open_s,
    }


def _timed(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(point.seconds, point.value) for point in points if point.seconds is not None]


def _line(x: Sequence[float], seeds: Sequence[Sequence[float]]) -> Line:
    chosen_X = np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(int)
    values_SX = np.array(seeds)[:, chosen_X]
    return Line(
        x=tuple(x[place] for place in chosen_X),
        mean=tuple(values_SX.mean(axis=0).tolist()),
        low=tuple(values_SX.min(axis=0).tolist()),
        high=tuple(values_SX.max(axis=0).tolist()),
        num_seeds=len(seeds),
    )
