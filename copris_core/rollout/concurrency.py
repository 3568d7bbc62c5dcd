"""How many responses may be in flight, and how many un-started ones should wait behind them."""

import math
from dataclasses import dataclass
from typing import Protocol


class Limit(Protocol):
    """Says how many responses may be in flight; the gate asks before every admission."""

    @property
    def limit(self) -> int:
        """N', at least 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLimit:
    """A constant in-flight limit N' (CoPRIS's concurrency pool size)."""

    limit: int
    """Responses in flight at once, over all replicas."""

    def __post_init__(self) -> None:
        """Refuse a limit that admits nothing."""
        if self.limit < 1:
            raise ValueError(
                f"concurrency must be >= 1, got {self.limit}; set strategy.concurrency"
            )


def waiting_margin(limit: int, group_size: int) -> int:
    """Un-started responses to keep waiting so that a freed slot never stands empty.

    A quarter of the pool covers the round trip of a draw; four groups cover small pools. Waiting
    responses hold no tokens, so a generous margin costs neither memory nor staleness.
    """
    return max(4 * group_size, limit // 4)
