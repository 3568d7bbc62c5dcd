"""What a stage measured, from opening to the last acknowledged abort."""

from dataclasses import dataclass, field

from copris_core.rollout.occupancy import InFlightMeter

INSTANT_S = 0.001
"""A stage shorter than this sampled nothing."""


@dataclass(slots=True, kw_only=True)
class StageCounts:
    """What happened since the gate opened; times in seconds on the router's clock."""

    opened_at_s: float
    """When the gate opened."""
    meter: InFlightMeter = field(default_factory=InFlightMeter)
    """Responses in flight while it was open."""
    finished: int = 0
    """Calls that an engine finished."""
    interrupted: int = 0
    """Calls that were cut off."""
    tokens: int = 0
    """Tokens sampled."""
    prefilled_again: int = 0
    """Response tokens sent to an engine again."""
    kept_tokens: int = 0
    """Prompt and response tokens that an engine still had in its KV cache from before."""
    retries: int = 0
    """Responses that were tried again after an error."""
    failed_groups: int = 0
    """Groups given up after an error."""
    dropped_groups: int = 0
    """Groups given up for their age."""
    over_at_s: float | None = None
    """When the stage was over; None before."""
    drained_at_s: float | None = None
    """When the last abort was answered; None before."""

    @property
    def stop_latency_s(self) -> float:
        """From the B-th complete group to the last answer to an abort."""
        if self.over_at_s is None or self.drained_at_s is None:
            return 0.0
        return max(0.0, self.drained_at_s - self.over_at_s)

    def metrics(self, limit: int) -> dict[str, float]:
        """As rows of metrics.jsonl name them.

        A stage that found B groups carried over ended as it began: it has no in-flight to report.
        """
        row: dict[str, float] = {
            "rollout/open_s": self.meter.open_s,
            "rollout/stop_latency_s": self.stop_latency_s,
            "rollout/reprefill_tokens": self.prefilled_again,
            "kv/kept_tokens": self.kept_tokens,
            "rollout/interrupted": self.interrupted,
            "rollout/retries": self.retries,
            "rollout/failed_groups": self.failed_groups,
            "rollout/dropped_groups": self.dropped_groups,
            "samples/finished": self.finished,
            "tokens/generated": self.tokens,
        }
        if self.meter.open_s > INSTANT_S:
            row["rollout/in_flight"] = self.meter.mean
            row["rollout/occupancy"] = self.meter.mean / limit
        if self.tokens and self.meter.open_s > INSTANT_S:
            # Each response in flight gets one token a step.
            row["rollout/decode_step_s"] = self.meter.open_s * self.meter.mean / self.tokens
        return row
