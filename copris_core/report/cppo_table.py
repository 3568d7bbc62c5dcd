"""The table of the CPPO paper (arXiv 2503.22342, table 1), in its reading and in the stricter one.

The authors time one pass over the same prompts. With allocation a step draws 1 / (1 - P) times the
prompts, so that a pass has (1 - P) times the optimizer updates:

    ratio at equal prompts = ratio at equal updates x (baseline's updates / method's updates)

as far as an update costs the same throughout. The second factor is no speed: it is training less.
Refuses to choose a reading: both stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from copris_core.report.compared import Method, Table
from copris_core.report.equal_points import Curves, EqualReading, Reached, equal_reading
from copris_core.report.equal_tables import DIGITS, accuracy_of, spent
from copris_core.report.methods_stats import Contrast, show_over, show_times, times
from copris_core.report.numbers import UNKNOWN

READINGS = {"prompts": "updates", "updates": "prompts"}
"""What is held equal -> what then differs and is shown."""


@dataclass(frozen=True, kw_only=True)
class PruningFacts:
    """What a method's config says of its batch."""

    group_size: str
    """n, responses a prompt."""
    pruning_rate: str
    """P as written; ``0`` without pruning."""
    kept: str
    """k, responses of a group that are trained on."""
    prompts: str
    """Prompts drawn for a step."""


@dataclass(frozen=True, kw_only=True)
class FewerUpdates:
    """How much of a time ratio at equal prompts is training less."""

    label: str
    """Of the method."""
    by_prompts: Contrast
    """Baseline's seconds over the method's, at equal prompts."""
    by_updates: Contrast | None
    """The same at equal optimizer updates."""
    updates: Contrast
    """The method's optimizer updates over the baseline's, at equal prompts."""


def prunes(config: Mapping[str, Any]) -> bool:
    """Whether a config chose CPPO."""
    return bool(config.get("pruning", {}).get("name", "none") != "none")


def pruning_facts(config: Mapping[str, Any]) -> PruningFacts:
    """Read them; a hyphen for what the config does not say."""
    group_size = config.get("actor_rollout_ref", {}).get("rollout", {}).get("n")
    pruning = config.get("pruning", {})
    rate = pruning.get("pruning_rate") if prunes(config) else 0
    return PruningFacts(
        group_size=_text(group_size),
        pruning_rate=_text(rate),
        kept=_kept(group_size, rate, pruning.get("scope", "group")),
        prompts=_text(config.get("data", {}).get("train_batch_size")),
    )


def cppo_table(methods: Sequence[Method], curves: Curves) -> list[Table]:
    """The table; none where no method prunes."""
    if not any(prunes(x.runs[0].config) for x in methods):
        return []
    readings = {name: equal_reading(curves, name) for name in READINGS}
    heads = [_head(name, reading) for name, reading in readings.items()]
    return [
        Table(
            title="Pruning, as the CPPO paper tabulates it",
            remark="Left at equal prompts, as the paper times it: with allocation a pass over the "
            "prompts has fewer optimizer updates, which alone saves time. Right at equal updates. "
            "Time: seconds of training steps; ratio: the first method's seconds over this one's.",
            header=(
                "method",
                "group size n",
                "pruning rate P",
                "kept k",
                "prompts a step",
                *heads[0],
                *heads[1],
            ),
            rows=tuple(_row(method, readings) for method in methods),
        )
    ]


def fewer_updates(curves: Curves) -> list[FewerUpdates]:
    """Each method but the first, as far as both readings were measured."""
    by_prompts, by_updates = (equal_reading(curves, name) for name in READINGS)
    if by_prompts is None:
        return []
    base, *others = by_prompts.methods
    found = []
    for place, method in enumerate(others, start=1):
        ratio = _seconds_ratio(method, base)
        updates = times(method.by_seed(spent("updates")), base.by_seed(spent("updates")))
        if ratio is not None and updates is not None:
            equal = _ratio_at(by_updates, place)
            found.append(
                FewerUpdates(
                    label=method.label, by_prompts=ratio, by_updates=equal, updates=updates
                )
            )
    return found


def _ratio_at(reading: EqualReading | None, place: int) -> Contrast | None:
    if reading is None:
        return None
    return _seconds_ratio(reading.methods[place], reading.methods[0])


def _row(method: Method, readings: Mapping[str, EqualReading | None]) -> tuple[str, ...]:
    facts = pruning_facts(method.runs[0].config)
    first = (facts.group_size, facts.pruning_rate, facts.kept, facts.prompts)
    cells = [
        cell for name, reading in readings.items() for cell in _cells(method.label, name, reading)
    ]
    return (method.label, *first, *cells)


def _cells(label: str, currency: str, reading: EqualReading | None) -> list[str]:
    if reading is None:
        return [UNKNOWN] * 4
    mine = next(each for each in reading.methods if each.label == label)
    other, base = READINGS[currency], reading.methods[0]
    return [
        show_over(mine.values(accuracy_of), 3, most=1),
        show_over(mine.values(spent("seconds")), DIGITS["seconds"]),
        "1" if mine is base else show_times(_seconds_ratio(mine, base)),
        show_over(mine.values(spent(other)), DIGITS[other]),
    ]


def _head(currency: str, reading: EqualReading | None) -> tuple[str, ...]:
    amount = "" if reading is None else f" {reading.amount:,.0f}"
    return (
        f"accuracy at{amount} {currency}",
        f"time (s) at{amount} {currency}",
        "ratio",
        READINGS[currency],
    )


def _seconds_ratio(method: Reached, base: Reached) -> Contrast | None:
    read = spent("seconds")
    return times(base.by_seed(read), method.by_seed(read))


def _kept(group_size: object, rate: object, scope: object) -> str:
    if not isinstance(group_size, int) or rate is None:
        return UNKNOWN
    from copris_core.pruning import keep_count  # tensors, which only a pruned method needs

    if scope == "batch":
        return f"{keep_count(group_size, str(rate))} on average"
    return str(keep_count(group_size, str(rate)))


def _text(value: object) -> str:
    return UNKNOWN if value is None else str(value)
