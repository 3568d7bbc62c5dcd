"""What a comparison found, in one or two sentences and in a card for each method.

Refuses to flatter: a pace or an accuracy whose interval holds "no difference" is said to be so, and
a single seed is called one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from copris_core.evaluation.intervals import Interval, rate_difference
from copris_core.report.compared import Method, RunData
from copris_core.report.methods_stats import Contrast, Measure, by_seed, difference, times
from copris_core.report.notes import SAME_WITHIN
from copris_core.report.numbers import UNKNOWN, show
from copris_core.report.ratios import SPEEDUPS, per_step

MOST_NAMED = 4
"""Methods that one sentence names."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a reader in a hurry wants of one method."""

    label: str
    """The method."""
    accuracy: str
    """Held-out accuracy after training, the mean over the seeds."""
    before: str
    """The same before training; empty where it was not validated."""
    step_s: str
    """Seconds of a training step."""
    pace: str
    """Training steps per second over the baseline's."""
    seeds: str
    """How many runs."""
    ledger: str
    """What the ledgers prove."""
    is_sound: bool
    """False where a ledger found something lost or done twice."""


def headline(methods: Sequence[Method]) -> tuple[str, ...]:
    """One or two sentences: who is how much faster than the first, and whether any is better.

    Raises:
        ValueError: there is no method.
    """
    if not methods:
        raise ValueError("nothing to say: give at least one finished run")
    base, *others = methods
    if not others:
        return (_alone(base),)
    return _pace_sentence(base, others), _accuracy_sentence(base, others)


def cards(methods: Sequence[Method]) -> list[Card]:
    """One a method; the first is the baseline."""
    return [_card(method, methods[0]) for method in methods]


def _alone(method: Method) -> str:
    steps = method.runs[0].summary.steps
    before, after = (show(_mean(method, read), 3) for read in (_before, _after))
    step_s = show(_mean(method, _step_s), 2)
    return (
        f"{method.label} took {steps} training steps of {step_s} s, and its held-out accuracy went "
        f"from {before} to {after} ({_seeds_of(len(method.runs))})."
    )


def _pace_sentence(base: Method, others: Sequence[Method]) -> str:
    """Training steps per second; the fastest of the others against the first."""
    paces = {x.label: times(by_seed(x, _pace), by_seed(base, _pace)) for x in others}
    known = {label: pace for label, pace in paces.items() if pace is not None}
    if not known:
        return f"No other method can be compared with {base.label} in time: not both were timed."
    label, pace = max(known.items(), key=lambda item: item[1].estimate)
    numbers = f"{pace.estimate:.2f} times as many training steps per second ({_how_sure(pace)})"
    if pace.estimate <= 1 + SAME_WITHIN:
        who = f"None was faster than {base.label}: {label}" if len(others) > 1 else label
        return f"{who} made {numbers} as {base.label}."
    doubt = pace.interval is not None and not pace.interval.excludes(1)
    verdict = "seemed" if doubt else "was"
    most = "the fastest" if len(others) > 1 else "faster"
    chance = ", which may be chance" if doubt else ""
    return f"{label} {verdict} {most}: {numbers} as {base.label}{chance}."


def _accuracy_sentence(base: Method, others: Sequence[Method]) -> str:
    """Held-out accuracy at the end; names each method whose interval leaves 0 out."""
    found = {x.label: _accuracy_gap(x, base) for x in others}
    known = {label: gap for label, gap in found.items() if gap is not None}
    if not known:
        return "Their held-out accuracies can't be compared: not both were measured."
    told = {label: gap for label, gap in known.items() if gap.excludes(0)}
    if not told:
        sides = [_accuracy_of(x) for x in (base, *others) if x is base or x.label in known]
        return f"Their held-out accuracies can't be told apart: {_list(sides)}."
    parts = [
        f"{label} ended {'higher' if gap.estimate > 0 else 'LOWER'} by {abs(gap.estimate):.3f} "
        f"(95% interval {gap.low:+.3f} to {gap.high:+.3f})"
        for label, gap in told.items()
    ]
    caution = (
        " One seed: the intervals are of the validation rows alone, another seed may end elsewhere."
        if len(base.runs) == 1
        else ""
    )
    return f"In held-out accuracy, against {_accuracy_of(base)}: {_list(parts)}.{caution}"


def _list(parts: Sequence[str]) -> str:
    """With a comma between them; the middle of a long list is left to the tables."""
    if len(parts) > MOST_NAMED:
        parts = [*parts[: MOST_NAMED - 1], f"and {len(parts) - MOST_NAMED + 1} more"]
    return ", ".join(parts)


def _accuracy_of(method: Method) -> str:
    return f"{method.label} ({show(_mean(method, _after), 3)})"


def _accuracy_gap(method: Method, base: Method) -> Interval | None:
    """Paired over the seeds; None where a side is unknown.

    One seed, and seeds that all differ by the same, say nothing of their spread: then Newcombe's
    interval of one validation at the mean accuracies.
    """
    contrast = difference(by_seed(method, _after), by_seed(base, _after))
    found = None if contrast is None else contrast.interval
    if found is not None and found.high > found.low:
        return found
    ours, theirs = (_mean(x, _after) for x in (method, base))
    sizes = [x.runs[0].summary.accuracy.n for x in (method, base)]
    if ours is None or theirs is None or not sizes[0] or not sizes[1]:
        return None
    return rate_difference(ours, sizes[0], baseline=theirs, baseline_n=sizes[1])


def _card(method: Method, base: Method) -> Card:
    pace = times(by_seed(method, _pace), by_seed(base, _pace))
    audits = [run.audit for run in method.runs if run.audit is not None]
    wrong = sum(len(each.lost) + len(each.duplicated) for each in audits)
    return Card(
        label=method.label,
        accuracy=show(_mean(method, _after), 3),
        before="" if (before := _mean(method, _before)) is None else show(before, 3),
        step_s=show(_mean(method, _step_s), 2),
        pace="baseline" if method is base else _pace_text(pace),
        seeds=_seeds_of(len(method.runs)),
        ledger=_ledger_text(len(audits), wrong),
        is_sound=wrong == 0,
    )


def _pace_text(pace: Contrast | None) -> str:
    return UNKNOWN if pace is None else f"{pace.estimate:.2f}x"


def _ledger_text(num_audits: int, num_wrong: int) -> str:
    if not num_audits:
        return "no ledger"
    return "sound" if not num_wrong else f"{num_wrong} LOST or TWICE"


def _how_sure(contrast: Contrast) -> str:
    if contrast.interval is None:
        return _seeds_of(contrast.pairs) if contrast.pairs else "no common seed"
    low, high = contrast.interval.low, contrast.interval.high
    return f"95% interval {low:.2f} to {high:.2f} over {contrast.pairs} seeds"


def _seeds_of(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _mean(method: Method, measure: Measure) -> float | None:
    """Over the seeds that measured it."""
    known = by_seed(method, measure).values()
    return fmean(known) if known else None


def _pace(run: RunData) -> float | None:
    return SPEEDUPS["steps_wall"](run.summary)


def _step_s(run: RunData) -> float | None:
    return per_step(run.summary.phases.total_s, run.summary)


def _before(run: RunData) -> float | None:
    return run.summary.accuracy.before


def _after(run: RunData) -> float | None:
    return run.summary.accuracy.after
