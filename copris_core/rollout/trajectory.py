"""What happened to one response: the segments in which it was sampled, and how they join.

A response may be interrupted by weight updates. Each uninterrupted piece is a ``Segment`` sampled
by one policy version; joined in token order, the segments' log-probs are the behaviour log-probs
of CoPRIS (arXiv 2511.05589, cross-stage importance sampling).
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from copris_core.rollout.states import check_move


class Status(Enum):
    """Where a response stands."""

    WAITING = auto()
    RUNNING = auto()
    PAUSED = auto()
    FINISHED = auto()


MOVES = {
    Status.WAITING: frozenset({Status.RUNNING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.FINISHED}),
    Status.PAUSED: frozenset({Status.RUNNING}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Tokens that one policy version sampled without interruption."""

    tokens: "array[int]"
    """[T] token ids, 4 bytes each."""
    logps: "array[float]"
    """[T] log-probs that the sampling engine reported for them, float32."""
    version: int
    """Policy version (number of weight updates so far) that sampled them."""

    @classmethod
    def sampled(cls, tokens: Sequence[int], logps: Sequence[float], version: int) -> "Segment":
        """Check one engine output and pack it.

        Raises:
            ValueError: a log-prob too few, too many, or one that is not a number.
        """
        if len(tokens) != len(logps):
            raise ValueError(
                f"the engine returned {len(tokens)} tokens but {len(logps)} log-probs; "
                "set actor_rollout_ref.rollout.calculate_log_probs=True"
            )
        if any(math.isnan(logp) for logp in logps):
            raise ValueError(
                "the engine returned a NaN log-prob: its weights or its KV cache are damaged"
            )
        return cls(tokens=array("i", tokens), logps=array("f", logps), version=version)


def is_interrupted(*, aborted: bool, num_tokens: int, max_tokens: int) -> bool:
    """Whether an engine's answer must be resumed: aborted before its budget was used up."""
    return aborted and num_tokens < max_tokens


@dataclass(slots=True, kw_only=True)
class Trajectory:
    """One response, sampled in segments. Every status change goes through ``_move``.

    Invariant: the segments hold every token that an engine has delivered, and never more than
    ``max_tokens`` of them.
    """

    prompt: Sequence[int]
    """Prompt token ids, kept as an array of 4 bytes each."""
    max_tokens: int
    """Budget of response tokens over all segments together."""
    segments: list[Segment] = field(default_factory=list)
    """Sampled pieces in token order; empty pieces are not kept."""
    status: Status = Status.WAITING
    """Where the response stands."""
    stop_reason: str = ""
    """What the engine said when the response finished; empty before."""

    def __post_init__(self) -> None:
        """Pack the prompt: as Python numbers it would take ten times the memory."""
        self.prompt = array("i", self.prompt)

    @property
    def num_tokens(self) -> int:
        """Response tokens so far."""
        return sum(len(segment.tokens) for segment in self.segments)

    @property
    def remaining_tokens(self) -> int:
        """Response tokens that the budget still allows."""
        return self.max_tokens - self.num_tokens

    @property
    def oldest_version(self) -> int | None:
        """Policy version of the first token; None while there is none."""
        return self.segments[0].version if self.segments else None

    def start(self) -> list[int]:
        """Begin or resume sampling; return the tokens to prefill (prompt and everything so far)."""
        self._move(Status.RUNNING)
        return [*self.prompt, *self.tokens()]

    def absorb(self, segment: Segment, *, finished: bool, stop_reason: str = "") -> None:
        """Take one engine output. An interrupted response that used its budget is finished.

        Raises:
            ValueError: the engine returned more tokens than were left in the budget.
            IllegalMoveError: the response is not running.
        """
        if len(segment.tokens) > self.remaining_tokens:
            raise ValueError(
                f"{len(segment.tokens)} tokens came back, {self.remaining_tokens} were left"
            )
        done = not is_interrupted(
            aborted=not finished, num_tokens=len(segment.tokens), max_tokens=self.remaining_tokens
        )
        self._move(Status.FINISHED if done else Status.PAUSED)
        if len(segment.tokens):
            self.segments.append(segment)
        if done:
            self.stop_reason = stop_reason

    def at_rest(self) -> "Trajectory":
        """A copy as it would be written down: what has no answer yet, waits or is paused."""
        status = self.status
        if status is Status.RUNNING:
            status = Status.PAUSED if self.segments else Status.WAITING
        return replace(self, segments=list(self.segments), status=status)

    def rescore(self, version: int, logps: Sequence[float]) -> None:
        """Put other log-probs in the place of those of the tokens that ``version`` sampled.

        Raises:
            ValueError: one too few or too many.
        """
        rest = array("f", logps)
        if len(rest) != sum(len(s.tokens) for s in self.segments if s.version == version):
            raise ValueError(f"{len(rest)} log-probs do not fit the tokens of version {version}")
        for i, segment in enumerate(self.segments):
            if segment.version == version:
                count = len(segment.tokens)
                self.segments[i], rest = replace(segment, logps=rest[:count]), rest[count:]

    def tokens(self) -> list[int]:
        """[T] response tokens, joined."""
        return [token for segment in self.segments for token in segment.tokens]

    def logps(self) -> list[float]:
        """[T] behaviour log-probs, joined in token order."""
        return [logp for segment in self.segments for logp in segment.logps]

    def versions(self) -> list[int]:
        """[T] policy version that sampled each token."""
        return [segment.version for segment in self.segments for _ in segment.tokens]

    def _move(self, to: Status) -> None:
        self.status = check_move(MOVES, self.status, to, "response")
