"""Methods where all of them had spent the same: what each had reached, and what it cost.

The amount is the largest that every run reached. Refuses to pick the comparison that flatters: all
currencies are worked out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from copris_core.report.compared import Method
from copris_core.report.equal_curve import CURRENCIES, Curve, Point, curve

Curves = dict[str, dict[int, Curve]]
"""By label and seed."""


@dataclass(frozen=True, kw_only=True)
class Reached:
    """One method's runs at the amount, or at the accuracy, that is asked for."""

    label: str
    """Of the method."""
    points: dict[int, Point | None]
    """By seed; None where the run did not measure the currency, or never got there."""

    def values(self, read: Callable[[Point], float | None]) -> list[float | None]:
        """One number a run, None where there is none."""
        return [None if point is None else read(point) for point in self.points.values()]

    def by_seed(self, read: Callable[[Point], float | None]) -> dict[int, float]:
        """The same by seed, only what is known."""
        read_all = dict(zip(self.points, self.values(read), strict=True))
        return {seed: value for seed, value in read_all.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class EqualReading:
    """All methods at one amount of one currency."""

    currency: str
    """Key of `equal_curve.CURRENCIES`."""
    amount: float
    """The largest amount that every run that measured it reached."""
    methods: tuple[Reached, ...]
    """In the order of the comparison."""


@dataclass(frozen=True, kw_only=True)
class TargetReading:
    """All methods at their first validation of one accuracy."""

    accuracy: float
    """The baseline's last held-out accuracy, mean over its runs."""
    methods: tuple[Reached, ...]
    """In the order of the comparison."""


def curves_of(methods: Sequence[Method]) -> Curves:
    """The path of every run."""
    return {x.label: {run.summary.seed: curve(run) for run in x.runs} for x in methods}


def equal_readings(curves: Curves) -> tuple[EqualReading, ...]:
    """One reading for each currency that any run measured."""
    found = (equal_reading(curves, currency) for currency in CURRENCIES)
    return tuple(reading for reading in found if reading is not None)


def equal_reading(curves: Curves, currency: str) -> EqualReading | None:
    """Every method at the largest common amount of ``currency``; None if nobody measured it."""
    totals = [each.total(currency) for runs in curves.values() for each in runs.values()]
    known = [total for total in totals if total is not None]
    if not known:
        return None
    amount = min(known)
    return EqualReading(
        currency=currency,
        amount=amount,
        methods=tuple(
            Reached(
                label=label, points={seed: _at(x, currency, amount) for seed, x in runs.items()}
            )
            for label, runs in curves.items()
        ),
    )


def time_to_accuracy(curves: Curves) -> TargetReading | None:
    """When each run first validated at the baseline's last accuracy; None if that is unknown."""
    baseline = next(iter(curves.values()))
    last = [each.validations[-1][1] for each in baseline.values() if each.validations]
    if not last:
        return None
    target = fmean(last)
    return TargetReading(
        accuracy=target,
        methods=tuple(
            Reached(
                label=label, points={seed: x.first_reaching(target) for seed, x in runs.items()}
            )
            for label, runs in curves.items()
        ),
    )


def _reached(curves: Curves, point_of: Callable[[Curve], Point | None]) -> tuple[Reached, ...]:
    return tuple(
        Reached(label=label, points={seed: point_of(run) for seed, run in runs.items()})
        for label, runs in curves.items()
    )


def _at(run: Curve, currency: str, amount: float) -> Point | None:
    place = run.place_of(currency, amount)
    return None if place is None else run.at(place)
