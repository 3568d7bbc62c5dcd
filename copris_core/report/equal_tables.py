"""The tables of the four fair readings: equal updates, trained samples, generated tokens, seconds.

Refuses to compute: points come from `equal_points`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from copris_core.report.compared import Table
from copris_core.report.equal_curve import CURRENCIES, REWARD_STEPS, Point
from copris_core.report.equal_points import (
    Curves,
    EqualReading,
    Reached,
    equal_reading,
    time_to_accuracy,
)
from copris_core.report.methods_stats import (
    difference,
    show_difference,
    show_over,
    show_times,
    times,
)
from copris_core.report.numbers import UNKNOWN

FAIR = ("updates", "trained", "tokens", "seconds")
"""Currencies that get a table; prompts stand in the CPPO-style one."""
DIGITS = {"updates": 0, "trained": 0, "tokens": 0, "seconds": 1, "prompts": 0}

RULE = (
    "The largest amount that every run reached. Accuracy: held out, linear between the validations "
    "before and after that place. Reward: mean score of the "
    f"{REWARD_STEPS} training steps up to it. Seconds are those of training steps, checkpoints "
    "included, start-up and validation left out."
)


def equal_tables(curves: Curves) -> list[Table]:
    """A table for each of `FAIR` that was measured."""
    found = [equal_reading(curves, currency) for currency in FAIR]
    return [_equal_table(reading) for reading in found if reading is not None]


def target_table(curves: Curves) -> list[Table]:
    """What each method spent until it first validated as well as the baseline ended."""
    reading = time_to_accuracy(curves)
    if reading is None:
        return []
    base = reading.methods[0].label
    return [
        Table(
            title=f"Time to accuracy {reading.accuracy:.3f}",
            remark=f"What was spent up to the first validation of at least {reading.accuracy:.3f}, "
            f"with which {base} ended (mean over its runs). Validations are apart, so this is "
            "late by up to one interval. A hyphen: never reached.",
            header=("method", "reached by", *(CURRENCIES[name] for name in FAIR)),
            rows=tuple(_target_row(each) for each in reading.methods),
        )
    ]


def reach_text(points: Sequence[Point | None]) -> str:
    """``2 of 3 runs``."""
    return f"{sum(point is not None for point in points)} of {len(points)} runs"


def _equal_table(reading: EqualReading) -> Table:
    words, digits = CURRENCIES[reading.currency], DIGITS[reading.currency]
    base, others = reading.methods[0], [name for name in FAIR if name != reading.currency]
    return Table(
        title=f"At equal {words}: {reading.amount:,.{digits}f}",
        remark=RULE,
        header=(
            "method",
            "accuracy",
            f"against {base.label}",
            "reward",
            *(CURRENCIES[name] for name in others),
            "times cheaper in seconds" if reading.currency != "seconds" else "times the samples",
        ),
        rows=tuple(_equal_row(each, base, others, reading.currency) for each in reading.methods),
    )


def _equal_row(
    method: Reached, base: Reached, others: Sequence[str], currency: str
) -> tuple[str, ...]:
    sides = method.by_seed(accuracy_of), base.by_seed(accuracy_of)
    gap = UNKNOWN if method is base else show_difference(difference(*sides), 3)
    return (
        method.label,
        show_over(method.values(accuracy_of), 3, most=1),
        gap,
        show_over(method.values(lambda point: point.reward), 3, least=None),
        *(show_over(method.values(spent(name)), DIGITS[name]) for name in others),
        UNKNOWN if method is base else _gain(method, base, currency),
    )


def _gain(method: Reached, base: Reached, currency: str) -> str:
    """At equal seconds more samples are better, else fewer seconds are."""
    if currency == "seconds":
        read = spent("trained")
        return show_times(times(method.by_seed(read), base.by_seed(read)))
    read = spent("seconds")
    return show_times(times(base.by_seed(read), method.by_seed(read)))


def _target_row(method: Reached) -> tuple[str, ...]:
    points = list(method.points.values())
    amounts = [show_over(method.values(spent(name)), DIGITS[name]) for name in FAIR]
    return (method.label, reach_text(points), *amounts)


def accuracy_of(point: Point) -> float | None:
    """Held-out accuracy there."""
    return point.accuracy


def spent(currency: str) -> Callable[[Point], float | None]:
    """Reads the amount of one currency."""
    return partial(_spent, currency)


def _spent(currency: str, point: Point) -> float | None:
    return point.spent.get(currency)
