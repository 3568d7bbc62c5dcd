"""A model of the inference engine: what a decode step costs, and what fits into the KV cache.

Between two events (a response is added or ends, the KV cache runs full) every running response of
a replica gains one token per step, so a whole span is advanced at once: the cost of a simulation
grows with the responses, not with their tokens.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from copris_core.rollout.order import ResponseKey

STEP_SLACK = 1e-6
"""Decode steps; a response this close to its last token has it. Only absorbs float rounding."""

KV_HEADROOM = 0.02
"""Share of the KV cache that stays free when a response is let in beside others; without it the
next steps would throw somebody out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """One kind of replica, and how many there are.

    t(step) = step_s + response_s max(0, running - flat_to) + context_token_s KV tokens in use
    and, before it, where requests came: request_s + prefill_token_s their prefixes
    """

    step_s: float
    """Seconds of a decode step that any batch costs."""
    response_s: float
    """Seconds that every response beyond ``flat_to`` adds to a decode step."""
    flat_to: int = 0
    """Responses per replica up to which a step costs the same."""
    context_token_s: float = 0.0
    """Seconds that every token in the KV cache adds to a decode step, for it is read again."""
    prefill_token_s: float
    """Seconds of a replica to prefill one token."""
    request_s: float = 0.0
    """Seconds of a replica to take in whoever comes at one moment, however many and long."""
    stop_s: float
    """Seconds from the last group's completion until every abort is acknowledged."""
    kv_tokens: int
    """Tokens that fit into one replica's KV cache."""
    max_running: int
    """Most responses in one replica's batch (vLLM: max_num_seqs)."""
    replicas: int = 1
    """Replicas, all alike."""

    def __post_init__(self) -> None:
        """Refuse an engine that could not exist.

        Raises:
            ValueError: see above.
        """
        costs = (self.response_s, self.context_token_s, self.prefill_token_s, self.request_s)
        if self.step_s <= 0 or min(*costs, self.stop_s, self.flat_to) < 0:
            raise ValueError(f"a decode step takes time, and no cost is negative: {self}")
        if min(self.kv_tokens, self.max_running, self.replicas) < 1:
            raise ValueError(f"an engine needs a replica, a batch and a KV cache: {self}")

    def decode_step_s(self, running: int, kv_tokens: float = 0.0) -> float:
        """Seconds of one decode step with ``running`` responses on one replica."""
        batch_s = self.step_s + self.response_s * max(0, running - self.flat_to)
        return batch_s + self.context_token_s * kv_tokens


class Slot(NamedTuple):
    """One stay of a response in a replica's batch; a tuple, for millions of them are made."""

    key: ResponseKey
    """Whose it is."""
    prefix: int
    """Tokens in the KV cache when it (re-)started: prompt and response so far."""
    remaining: int
    """Response tokens that it still has to sample from there."""
    kept: int = 0
    """Tokens sampled since it came to this replica, before it was last preempted."""


class Replica:
    """One engine. The caller moves its clock by ``advance`` and asks for ``next_event_s``."""

    def __init__(self, model: EngineModel) -> None:
        """Start idle at time 0."""
        self._model = model
        self.slowness = 1.0
        self._now_s = 0.0
        self._stalled_to_s = 0.0
        self._came_s = -math.inf
        self._steps = 0.0
        self._step_s = 0.0
        self._running: dict[ResponseKey, Slot] = {}
        self._start_steps: dict[ResponseKey, float] = {}
        self._ends: list[tuple[float, int, Slot]] = []
        self._kv_base = 0.0  # KV tokens = base + running x steps
        self._waiting: deque[Slot] = deque()
        self._num_starts = 0
        self._ended_tokens = 0
        self.prefill_s = 0.0
        self.preemptions = 0
        self.prefilled_tokens = 0

    # ---- questions ----

    @property
    def num_running(self) -> int:
        """Responses in the decode batch."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Responses held back because the batch or the KV cache is full."""
        return len(self._waiting)

    @property
    def kv_use(self) -> float:
        """Share of the KV cache in use, 0..1."""
        return min(1.0, max(0.0, self._kv_used / self._model.kv_tokens))

    @property
    def generated_tokens(self) -> int:
        """Tokens sampled so far, those of the running responses included."""
        here = sum(slot.kept + self._done(slot) for slot in self._running.values())
        return self._ended_tokens + here + sum(slot.kept for slot in self._waiting)

    @property
    def next_event_s(self) -> float:
        """When a response ends or the KV cache runs full; infinity while nothing runs."""
        if not self._running:
            return math.inf
        at_step = min(self._next_end(), self._full_at())
        since_s = max(self._now_s, self._stalled_to_s)
        return since_s + self._seconds_of(max(0.0, at_step - self._steps))

    # ---- commands ----

    def advance(self, now_s: float) -> None:
        """Decode until ``now_s``, which is not past ``next_event_s``."""
        since_s = max(self._now_s, self._stalled_to_s)
        if self._running and now_s > since_s:
            self._steps += self._steps_in(now_s - since_s)
        self._now_s = max(self._now_s, now_s)

    def add(self, slot: Slot) -> None:
        """A request arrives at the replica's present time."""
        self._waiting.append(slot)
        self._admit_waiting()

    def handle_event(self) -> Slot | None:
        """What is due now: the response that ends, or None after somebody was preempted."""
        ends, full = self._next_end(), self._full_at()
        self._steps = max(self._steps, min(ends, full))
        if ends <= full + STEP_SLACK:
            slot = heapq.heappop(self._ends)[2]
            self._remove(slot)
            self._ended_tokens += slot.kept + slot.remaining
            self._admit_waiting()
            return slot
        self._preempt(next(reversed(self._running.values())))
        return None

    def abort_all(self) -> list[tuple[ResponseKey, int]]:
        """Throw everybody out; for each the tokens sampled here, fewer than its remaining ones."""
        cut = [(slot.key, slot.kept + self._done(slot)) for slot in self._running.values()]
        cut += [(slot.key, slot.kept) for slot in self._waiting]
        self._ended_tokens += sum(tokens for _, tokens in cut)
        self._running.clear()
        self._start_steps.clear()
        self._waiting.clear()
        self._ends.clear()
        self._steps = self._kv_base = 0.0
        self.prefill_s -= max(0.0, self._stalled_to_s - self._now_s)
        self._stalled_to_s = self._now_s
        return cut

    # ---- inside ----

    @property
    def _kv_used(self) -> float:
        """Tokens in the KV cache."""
        return self._kv_base + len(self._running) * self._steps

    def _seconds_of(self, steps: float) -> float:
        """Seconds of the next steps: each finds ``running`` more tokens in the KV cache.

        (t + c K) steps + c running steps^2 / 2, with K tokens there now and c seconds for each.
        """
        context_s = self._model.context_token_s * self.slowness
        mean_tokens = self._kv_used + len(self._running) * steps / 2 if context_s else 0.0
        return steps * (self._step_s + context_s * mean_tokens)

    def _steps_in(self, seconds: float) -> float:
        """Steps within ``seconds``: the inverse, in the form that loses no digits."""
        context_s = self._model.context_token_s * self.slowness
        if not context_s:
            return seconds / self._step_s
        step_s = self._step_s + context_s * self._kv_used
        growth_s = context_s * len(self._running)
        return 2 * seconds / (step_s + math.sqrt(step_s**2 + 2 * growth_s * seconds))

    def _done(self, slot: Slot) -> int:
        """Whole tokens of this stay; the last one is only had when the response ends."""
        since = self._steps - self._start_steps[slot.key]
        return min(slot.remaining - 1, int(since + STEP_SLACK))

    def _next_end(self) -> float:
        """Step count at which the next response ends."""
        while True:
            end, _, slot = self._ends[0]
            if self._running.get(slot.key) is slot:
                return end
            heapq.heappop(self._ends)  # it was preempted

    def _full_at(self) -> float:
        """Step count at which the KV cache is full; one response alone may always go on."""
        if len(self._running) == 1:
            return math.inf
        return (self._model.kv_tokens - self._kv_base) / len(self._running)

    def _admit_waiting(self) -> None:
        """Let in whom batch and KV cache hold; then a step takes as long as the batch says."""
        model = self._model
        room = model.kv_tokens * (1 - KV_HEADROOM)
        while self._waiting and (running := len(self._running)) < model.max_running:
            wanted = self._kv_used + self._waiting[0].prefix + running + 1
            if running and wanted > room:
                break
            self._start(self._waiting.popleft())
        self._repace()

    def _start(self, slot: Slot) -> None:
        self._start_steps[slot.key] = self._steps
        self._num_starts += 1
        heapq.heappush(self._ends, (self._steps + slot.remaining, self._num_starts, slot))
        self._running[slot.key] = slot
        self._kv_base += slot.prefix - self._steps
        model = self._model
        request_s = model.request_s if self._now_s > self._came_s else 0.0
        self._came_s = self._now_s
        stall_s = (request_s + model.prefill_token_s * slot.prefix) * self.slowness
        self._stalled_to_s = max(self._stalled_to_s, self._now_s) + stall_s
        self.prefill_s += stall_s
        self.prefilled_tokens += slot.prefix

    def _remove(self, slot: Slot) -> None:
        del self._running[slot.key]
        self._kv_base -= slot.prefix - self._start_steps.pop(slot.key)

    def _preempt(self, slot: Slot) -> None:
        """Throw the latest one out; it comes back by prefilling all it had (vLLM: recompute)."""
        done = self._done(slot)
        self._remove(slot)
        again = Slot(
            key=slot.key,
            prefix=slot.prefix + done,
            remaining=slot.remaining - done,
            kept=slot.kept + done,
        )
        self._repace()
        self._waiting.appendleft(again)
        self.preemptions += 1

    def _repace(self) -> None:
        self._step_s = self._model.decode_step_s(len(self._running)) * self.slowness
