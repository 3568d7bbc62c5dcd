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
class EngineFacts:
    """What the engines say of themselves at one moment, summed over the replicas.

    The names in the field docstrings are vLLM's Prometheus metrics.
    """

    time_s: float
    """When it was read, on any clock that only moves forward."""
    running: int
    """Requests in the decode batches (``vllm:num_requests_running``)."""
    waiting: int
    """Requests that the engines hold back (``vllm:num_requests_waiting``)."""
    kv_cache_use: float
    """Share of the KV cache in use, 0..1, of the fullest replica (``kv_cache_usage_perc``)."""
    preemptions: int
    """Requests thrown out of the KV cache since the engines started (``num_preemptions_total``)."""
    generated_tokens: int
    """Tokens sampled since the engines started (``generation_tokens_total``)."""
    prefilled_tokens: int | None = None
    """Tokens prefilled since the engines started (``prompt_tokens_total``); None if unknown."""

    def __post_init__(self) -> None:
        """Refuse what no engine can mean.

        Raises:
            ValueError: see above.
        """
        counts = (self.running, self.waiting, self.preemptions, self.generated_tokens)
        if min(counts) < 0 or (self.prefilled_tokens or 0) < 0:
            raise ValueError(f"an engine cannot count below zero: {self}")
        if not 0.0 <= self.kv_cache_use <= 1.0:
            raise ValueError(f"kv_cache_use is a share of 0..1, got {self.kv_cache_use}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFacts:
    """What one generation stage, and the rest of its training step, came to."""

    open_s: float
    """Seconds during which the gate was open."""
    finished: int
    """Responses that finished."""
    tokens: int
    """Response tokens sampled, also those of responses that did not finish."""
    prefilled_again: int
    """Response tokens prefilled once more because their response had been interrupted."""
    occupancy: float
    """Mean responses in flight over the limit in force."""
    in_flight: float
    """Mean responses in flight while the gate was open."""
    rest_s: float
    """Seconds of the training step outside ``open_s``: stop, log-probs, update, weight sync."""
    interrupted: int
    """Responses cut off at the end of the stage."""

    def __post_init__(self) -> None:
        """Refuse what no stage can come to.

        Raises:
            ValueError: see above.
        """
        counts = (self.finished, self.tokens, self.prefilled_again, self.interrupted)
        measures = (self.open_s, self.occupancy, self.in_flight, self.rest_s)
        if min(counts) < 0 or not all(0.0 <= value < math.inf for value in measures):
            raise ValueError(f"a stage cannot come to less than nothing: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedLimit:
    """A constant in-flight limit N' (CoPRIS's concurrency pool size)."""

    limit: int
    """Responses in flight at once, over all replicas."""

    def __post_init__(self) -> None:
        """Refuse a limit that admits nothing.

        Raises:
            ValueError: see above.
        """
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
