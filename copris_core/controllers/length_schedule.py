"""How many tokens a response may have at each training step; pure functions of the step.

The engine is built once for ``maximum``; a step's budget only caps what it samples. Steps count
from 1, as the trainer's do.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol


class LengthSchedule(Protocol):
    """A response budget by training step."""

    @property
    def maximum(self) -> int:
        """Most tokens of any step; the engine must be built for it."""
        ...

    @property
    def minimum(self) -> int:
        """Fewest tokens of any step; a length penalty's buffer must fit into it."""
        ...

    def tokens_at(self, step: int) -> int:
        """Tokens that a response of ``step`` may have."""
        ...


@dataclass(frozen=True, kw_only=True)
class ConstantLength:
    """The same budget at every step."""

    tokens: int
    """Most response tokens."""

    def __post_init__(self) -> None:
        """Refuse a budget that allows nothing."""
        _check_tokens("tokens", self.tokens)

    @property
    def maximum(self) -> int:
        """The budget."""
        return self.tokens

    @property
    def minimum(self) -> int:
        """The budget."""
        return self.tokens

    def tokens_at(self, step: int) -> int:
        """The budget.

        Raises:
            ValueError: ``step`` < 1.
        """
        _check_step(step)
        return self.tokens


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Budgets that change at given steps: ``((1, 8192), (1500, 16384))`` is 8k, 16k from 1500."""

    steps: Sequence[tuple[int, int]]
    """(first step, tokens), ascending; the first begins at step 1."""

    def __post_init__(self) -> None:
        """Refuse a table that leaves a step without a budget, or with two.

        Raises:
            ValueError: empty, not from step 1, not ascending, or a budget below 1.
        """
        starts = [start for start, _ in self.steps]
        if starts[:1] != [1] or any(later <= start for start, later in pairwise(starts)):
            raise ValueError(
                f"length_schedule.steps begin at {starts}: they must begin at 1 and ascend"
            )
        for _, tokens in self.steps:
            _check_tokens("steps", tokens)

    @property
    def maximum(self) -> int:
        """The largest budget of the table."""
        return max(tokens for _, tokens in self.steps)

    @property
    def minimum(self) -> int:
        """The smallest budget of the table."""
        return min(tokens for _, tokens in self.steps)

    def tokens_at(self, step: int) -> int:
        """The budget of the last entry that has begun.

        Raises:
            ValueError: ``step`` < 1.
        """
        _check_step(step)
        return [tokens for start, tokens in self.steps if start <= step][-1]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Stretches of ``on_steps`` steps with ``off_steps`` between them, without an end.

    ProRL v2 applies its length reward in such windows, on for 100 updates and off for 500.
    """

    on_steps: int = 100
    """Steps of each window."""
    off_steps: int = 500
    """Steps between two windows; 0 for none."""
    first_step: int = 1
    """First step of the first window."""

    def __post_init__(self) -> None:
        """Refuse windows that cannot be told apart.

        Raises:
            ValueError: a field is out of its range.
        """
        if self.on_steps < 1 or self.off_steps < 0 or self.first_step < 1:
            raise ValueError(
                f"length_schedule.on_steps={self.on_steps} and first_step={self.first_step} must "
                f"be at least 1, off_steps={self.off_steps} at least 0"
            )

    def position_at(self, step: int) -> int | None:
        """Which step of its window ``step`` is, 1..on_steps; None between the windows.

        Raises:
            ValueError: ``step`` < 1.
        """
        _check_step(step)
        if step < self.first_step:
            return None
        position = (step - self.first_step) % (self.on_steps + self.off_steps) + 1
        return position if position <= self.on_steps else None


@dataclass(frozen=True, kw_only=True)
class CosineWindows(Windows):
    """``maximum`` tokens, but in each window the budget falls to ``minimum`` by half a cosine.

        tokens(t) = minimum + (maximum - minimum) (1 + cos(pi t / on_steps)) / 2

    rounded, at the t-th step of a window, t = 1..on_steps: the step before it (t = 0) has
    ``maximum`` and its last one ``minimum``. The curve is the one that ProRL v2 gives for its
    length *reward* (``copris_core.filtering.cosine_length_reward``), there over a response's
    length and here over the steps.
    """

    maximum: int
    """Tokens between the windows."""
    minimum: int
    """Tokens at the last step of a window."""

    def __post_init__(self) -> None:
        """Refuse a curve that does not fall.

        Raises:
            ValueError: a field is out of its range.
        """
        super().__post_init__()
        _check_tokens("minimum", self.minimum)
        if self.minimum > self.maximum:
            raise ValueError(
                f"length_schedule.minimum={self.minimum} is above maximum={self.maximum}: swap them"
            )

    def tokens_at(self, step: int) -> int:
        """The budget of ``step``.

        Raises:
            ValueError: ``step`` < 1.
        """
        position = self.position_at(step)
        if position is None:
            return self.maximum
        share = 0.5 * (1 + math.cos(math.pi * position / self.on_steps))
        return round(self.minimum + (self.maximum - self.minimum) * share)


def _check_tokens(name: str, tokens: int) -> None:
    if tokens < 1:
        raise ValueError(f"length_schedule.{name}: {tokens} tokens is no budget; give 1 or more")


def _check_step(step: int) -> None:
    if step < 1:
        raise ValueError(f"step {step} has no response budget: training steps count from 1")
