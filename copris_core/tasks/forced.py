"""Workloads whose response lengths are given: what a method does with a tail, and nothing else.

Each row carries the lengths of its group's responses, so that every method samples the same ones;
``verl_adapter/forced_length.py`` makes the engine stop there. The reward is a coin that the text
itself decides: about half of a group is right, and nothing can be learnt.
"""

import math
import random
import zlib
from dataclasses import dataclass
from typing import Final

from copris_core.tasks.task import Message, Row, Split, Verdict

NAME: Final = "forced"
LENGTHS_FACT: Final = "response_lengths"
"""Name under which a row carries its lengths, space-separated, one for each member."""


@dataclass(frozen=True, kw_only=True)
class ForcedTask:
    """Lognormal lengths with a floor and a cap: exp(N(log median, sigma^2)), rounded."""

    rows: int = 4096
    """Training rows."""
    val_rows: int = 8
    """Held-out rows."""
    seed: int = 0
    """Of the lengths."""
    group_size: int = 8
    """Responses per prompt."""
    median: float = 60.0
    """Tokens that half of the responses exceed."""
    sigma: float = 1.0
    """Standard deviation of the log length; 0: all are alike."""
    floor: int = 8
    """Fewest tokens of a response."""
    cap: int = 1024
    """Most tokens of a response."""

    def __post_init__(self) -> None:
        """Refuse what cannot be a distribution of lengths.

        Raises:
            ValueError: see above.
        """
        if not 1 <= self.floor <= self.median <= self.cap or self.sigma < 0:
            raise ValueError(
                f"floor={self.floor}, median={self.median:g}, cap={self.cap}, sigma={self.sigma:g}"
                ": lengths need 1 <= floor <= median <= cap and sigma >= 0"
            )
        if min(self.rows, self.val_rows, self.group_size) < 1:
            raise ValueError("rows, val_rows and group_size must be 1 or more")

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows to train on."""
        return self._rows("train", self.rows)

    def validation_rows(self) -> list[Row]:
        """Rows of the same kind."""
        return self._rows("test", self.val_rows)

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Half of all texts are right; the same text always gets the same."""
        right = zlib.crc32(text.encode()) % 2
        return Verdict(score=float(right), reason="a coin that the text decides")

    def _rows(self, split: Split, count: int) -> list[Row]:
        generator = random.Random(f"{self.seed} {split}")
        return [
            Row(
                data_source=NAME,
                prompt=(Message(role="user", content=f"Row {index}"),),
                ability="none",
                ground_truth="",
                split=split,
                index=index,
                facts={LENGTHS_FACT: " ".join(map(str, self._lengths(generator)))},
            )
            for index in range(count)
        ]

    def _lengths(self, generator: random.Random) -> list[int]:
        drawn = (
            math.exp(generator.gauss(math.log(self.median), self.sigma))
            for _ in range(self.group_size)
        )
        return [max(self.floor, min(self.cap, round(length))) for length in drawn]
