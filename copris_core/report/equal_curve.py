"""One run as a path through what it spent: updates, samples, tokens, seconds, prompts.

A place on the path is a training step with a fraction: 2.5 is half-way through the third step.
Spending and accuracy are taken as linear in it, spending from step to step, accuracy from one
validation to the next. Refuses to go beyond what was run: nothing is extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from copris_core.report.compared import RunData
from copris_core.report.run_folder import Row
from copris_core.report.score import score
from copris_core.report.summary import training

CURRENCIES: dict[str, str] = {
    "updates": "optimizer updates",
    "trained": "trained samples",
    "tokens": "generated tokens",
    "seconds": "training seconds",
    "prompts": "prompts",
}
"""Name -> words. Seconds are those of the training steps, checkpoints included; start-up and
validation are left out. Prompts are those whose groups reached a step."""
KEYS = {
    "updates": "optimizer/updates",
    "trained": "samples/trained",
    "tokens": "tokens/generated",
    "seconds": "timing_s/step",
}
"""Column of metrics.jsonl with the amount of one step; prompts come from the config."""
REWARD_STEPS = 5
"""The reward at a place is the mean score of this many whole steps up to it."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A run at some place."""

    accuracy: float | None
    """Held-out accuracy in [0, 1]; None where no validation lies on both sides."""
    reward: float | None
    """Mean training score of the last whole steps."""
    spent: Mapping[str, float]
    """Amount by currency, from the start to here; only what was measured."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One run from its start to its end."""

    spent: Mapping[str, tuple[float, ...]]
    """By currency the amount after 0, 1, ..., T steps; without those a step did not measure."""
    validations: tuple[tuple[int, float], ...]
    """(steps done, accuracy), in order."""
    scores: tuple[float | None, ...]
    """Mean score of each step."""

    @property
    def num_steps(self) -> int:
        """Training steps, T."""
        return len(self.scores)

    def total(self, currency: str) -> float | None:
        """All that was spent; None if it was not measured."""
        return self.spent[currency][-1] if currency in self.spent else None

    def place_of(self, currency: str, amount: float) -> float | None:
        """The first place at which ``amount`` was spent; None if it never was."""
        amounts = self.spent.get(currency)
        if amounts is None or amount > amounts[-1] or amount < 0:
            return None
        after = int(np.searchsorted(amounts, amount, side="left"))
        if after == 0:
            return 0.0
        low, high = amounts[after - 1], amounts[after]
        return after - 1 + (amount - low) / (high - low)

    def at(self, place: float) -> Point:
        """The run at ``place``, in [0, T] training steps."""
        steps = range(self.num_steps + 1)
        return Point(
            accuracy=self._accuracy_at(place),
            reward=self._reward_at(place),
            spent={name: float(np.interp(place, steps, x)) for name, x in self.spent.items()},
        )

    def first_reaching(self, accuracy: float) -> Point | None:
        """The run at its first validation of ``accuracy`` or more; None if there is none."""
        step = next((step for step, rate in self.validations if rate >= accuracy), None)
        return None if step is None else self.at(step)

    def _accuracy_at(self, place: float) -> float | None:
        if not self.validations:
            return None
        steps, rates = zip(*self.validations, strict=True)
        if not steps[0] <= place <= steps[-1]:
            return None
        return float(np.interp(place, steps, rates))

    def _reward_at(self, place: float) -> float | None:
        done = int(place + 1e-9)  # a place that is a whole step may come out a hair below
        known = [x for x in self.scores[max(0, done - REWARD_STEPS) : done] if x is not None]
        return sum(known) / len(known) if known else None


def curve(run: RunData) -> Curve:
    """The path of one run."""
    train = [row for row in run.rows if training(row)]
    amounts = {name: [row.get(key) for row in train] for name, key in KEYS.items()}
    amounts["prompts"] = [prompts_per_step(run.config)] * len(train)
    return Curve(
        spent={
            name: (0.0, *accumulate(float(x or 0) for x in each))
            for name, each in amounts.items()
            if train and None not in each
        },
        validations=_validations(run.rows),
        scores=tuple(score(row) for row in train),
    )


def prompts_per_step(config: Mapping[str, Any]) -> float | None:
    """Prompts drawn for a step; None without a config, or where a filter replaces some."""
    if config.get("group_filter", {}).get("name", "none") != "none":
        return None
    number = config.get("data", {}).get("train_batch_size")
    return None if number is None else float(number)


def _validations(rows: Sequence[Row]) -> tuple[tuple[int, float], ...]:
    """A validation's step counts the training rows before it, should the numbers have a gap."""
    found, done = [], 0
    for row in rows:
        done += training(row)
        rate = row.get("val/accuracy")
        if rate is not None:
            found.append((done, rate))
    return tuple(found)
