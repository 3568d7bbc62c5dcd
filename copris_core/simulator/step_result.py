"""What one simulated training step came to."""

from dataclasses import dataclass

from copris_core.rollout.concurrency import StageFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """One simulated training step."""

    start_s: float
    """Virtual time at which it began."""
    decode_s: float
    """Seconds of the open gate in which the mean replica decoded."""
    prefill_s: float
    """Seconds of the open gate in which the mean replica prefilled."""
    stop_s: float
    """Seconds from the B-th complete group to the last acknowledged abort; 0.0 without one."""
    update_s: float
    """Seconds of everything else."""
    limit: int
    """N' when the gate closed."""
    in_flight: float
    """Mean responses in flight while the gate was open."""
    occupancy: float
    """``in_flight`` over ``limit``."""
    running: float
    """Mean responses in the decode batches while the gate was open; fewer than ``in_flight`` where
    an engine keeps some waiting."""
    finished: int
    """Responses that finished."""
    tokens: int
    """Response tokens sampled."""
    prefilled_again: int
    """Response tokens prefilled again on resume."""
    interrupted: int
    """Responses cut off at the end."""
    preemptions: int
    """Responses thrown out of the KV cache."""
    trained: int
    """Responses trained."""
    trained_tokens: int
    """Their tokens."""
    padded_tokens: int
    """Their tokens if each were as long as the longest."""
    trained_interruptions: int
    """How often they had been interrupted, in sum."""
    tokens_by_lag: dict[int, int]
    """Trained tokens by versions between sampling and training, in ascending order."""

    @property
    def open_s(self) -> float:
        """Seconds during which the gate was open."""
        return self.decode_s + self.prefill_s

    @property
    def total_s(self) -> float:
        """Seconds of the whole step."""
        return self.open_s + self.stop_s + self.update_s

    @property
    def samples_per_s(self) -> float:
        """Trained responses per second of the whole step."""
        return self.trained / self.total_s

    @property
    def tokens_per_s(self) -> float:
        """Sampled response tokens per second of the whole step."""
        return self.tokens / self.total_s

    @property
    def facts(self) -> StageFacts:
        """What a real trainer would know of it."""
        return StageFacts(
            open_s=self.open_s,
            finished=self.finished,
            tokens=self.tokens,
            prefilled_again=self.prefilled_again,
            occupancy=self.occupancy,
            in_flight=self.in_flight,
            rest_s=self.stop_s + self.update_s,
            interrupted=self.interrupted,
        )
