"""What the engines' own reports say against a number in flight: memory, and a queue of their own.

Two kinds of verdict: at once, within a stage (``memory_is_short``), and once per stage
(``memory_cap``, ``ran_while_queueing``). Owns no clock; a report carries its time.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from copris_core.rollout.concurrency import EngineFacts

KV_GROW_MARK = 0.85
"""Mean over the stages of the peak KV-cache use up to which N' may grow; single stages peak higher,
because a few long responses can meet on one replica."""

KV_CUT_MARK = 0.97
"""KV-cache use at which N' is cut: preemptions are a few tokens away."""

KV_STAGES = 8.0
"""Stages that the mean peak reaches back; lengths change over tens of updates."""

CAUTION_FACTOR = 0.95
"""What a stage with a cut leaves of ``KV_GROW_MARK``, for good: the more the lengths vary, the
lower the mean must stay for the peaks to fit, and cuts are how that shows."""

PREEMPTED_SHARE = 0.01
"""Preemptions since the last cut, per running response, at which N' is cut; a single one among
hundreds costs less than what a cut takes away."""

QUEUED_SHARE = 0.05
"""Waiting per running request from which the engines count as queueing."""

QUEUE_MIN_LOOKS = 3
"""Reports a stage must have for its queue to be judged: a resumed batch queues for a moment."""


@dataclass(slots=True, kw_only=True)
class _Stage:
    """What was reported since the stage began."""

    looks: int = 0
    queued_looks: int = 0
    queued_running: int = 0
    peak_kv: float = 0.0
    peak_running: int = 0


@dataclass(slots=True, kw_only=True)
class _Memory:
    """Fading sums over the stages."""

    stages: float = 0.0
    kv_per_response: float = 0.0  # peak use / responses running then
    cuts: int = 0


class EngineWatch:
    """Reports in, verdicts out."""

    def __init__(self) -> None:
        """Start before the first report."""
        self._stage = _Stage()
        self._memory = _Memory()
        self._last: EngineFacts | None = None
        self._preemptions_forgiven = 0

    @property
    def memory_cap(self) -> float:
        """Responses whose peak KV-cache use would reach the mark; infinity while it is unknown."""
        memory = self._memory
        if not memory.kv_per_response:
            return math.inf
        mark = KV_GROW_MARK * CAUTION_FACTOR**memory.cuts
        return mark * memory.stages / memory.kv_per_response

    @property
    def ran_while_queueing(self) -> int | None:
        """Mean running responses, if the engines queued in most reports of this stage."""
        stage = self._stage
        if stage.looks < QUEUE_MIN_LOOKS or 2 * stage.queued_looks <= stage.looks:
            return None
        return math.ceil(stage.queued_running / stage.queued_looks)

    def memory_is_short(self) -> bool:
        """Whether the last report shows a full KV cache, or preemptions not forgiven yet."""
        facts = self._last
        if facts is None:
            return False
        preempted = facts.preemptions - self._preemptions_forgiven
        return preempted > PREEMPTED_SHARE * facts.running or facts.kv_cache_use >= KV_CUT_MARK

    def observe(self, facts: EngineFacts) -> None:
        """Take one report.

        Raises:
            ValueError: it is older than the one before.
        """
        last, stage = self._last, self._stage
        if last is not None and facts.time_s < last.time_s:
            raise ValueError(f"a report of {facts.time_s} s came after one of {last.time_s} s")
        if last is None or facts.preemptions < last.preemptions:  # engines were restarted
            self._preemptions_forgiven = facts.preemptions
        self._last = facts
        stage.looks += 1
        if facts.waiting > QUEUED_SHARE * facts.running:
            stage.queued_looks += 1
            stage.queued_running += facts.running
        if facts.kv_cache_use > stage.peak_kv:
            stage.peak_kv, stage.peak_running = facts.kv_cache_use, facts.running

    def forgive_preemptions(self) -> None:
        """They have been answered by a cut."""
        if self._last is not None:
            self._preemptions_forgiven = self._last.preemptions

    def end_stage(self, *, was_cut: bool, is_first: bool) -> None:
        """Remember the stage's peak, and begin the next; in the first one all are still short."""
        stage, self._stage = self._stage, _Stage()
        if stage.peak_running and not is_first:
            fade = 1 - 1 / KV_STAGES
            memory = self._memory
            memory.stages = fade * memory.stages + 1
            peak = stage.peak_kv / stage.peak_running
            memory.kv_per_response = fade * memory.kv_per_response + peak
            memory.cuts += was_cut

    def state_dict(self) -> dict[str, Any]:
        """What outlives the engines, as JSON."""
        return asdict(self._memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self._memory = _Memory(**state)
