"""All replicas of one engine model on one clock: least-loaded routing and whose event is next."""

import heapq
import math

from copris_core.rollout.concurrency import EngineFacts
from copris_core.rollout.order import ResponseKey
from copris_core.simulator.engine import EngineModel, Replica, Slot

STALE_FACTOR = 8
"""Entries of the heap of loads per replica beyond which it is built anew: those of former loads are
only left out when they come to its top, and most never do."""


class Fleet:
    """The replicas behind one gate. A response costs O(log replicas)."""

    def __init__(self, model: EngineModel) -> None:
        """Start idle at time 0."""
        self._replicas = [Replica(model) for _ in range(model.replicas)]
        self._loads = [0] * model.replicas
        self._by_load = [(0, index) for index in range(model.replicas)]
        self._events: list[tuple[float, int]] = []
        self._due = [math.inf] * model.replicas
        self._touched: set[int] = set()  # replicas whose next event is to be worked out anew
        self._busy_s = 0.0
        self._seen_s = [0.0] * model.replicas  # up to when ``_busy_s`` counts each replica

    @property
    def next_event_s(self) -> float:
        """When the next replica has something to report; infinity while all are idle."""
        for index in self._touched:
            self._schedule(index)
        self._touched.clear()
        while self._events and self._due[self._events[0][1]] != self._events[0][0]:
            heapq.heappop(self._events)
        return self._events[0][0] if self._events else math.inf

    @property
    def prefill_s(self) -> float:
        """Seconds of prefilling since time 0, mean over the replicas."""
        return sum(replica.prefill_s for replica in self._replicas) / len(self._replicas)

    @property
    def busy_s(self) -> float:
        """Responses in the decode batches, integrated over the seconds that have passed."""
        return self._busy_s

    @property
    def preemptions(self) -> int:
        """Responses thrown out of a KV cache since time 0."""
        return sum(replica.preemptions for replica in self._replicas)

    def facts(self, now_s: float) -> EngineFacts:
        """What the engines would report at ``now_s``."""
        self.advance(now_s)
        replicas = self._replicas
        return EngineFacts(
            time_s=now_s,
            running=sum(replica.num_running for replica in replicas),
            waiting=sum(replica.num_waiting for replica in replicas),
            kv_cache_use=max(replica.kv_use for replica in replicas),
            preemptions=self.preemptions,
            generated_tokens=sum(replica.generated_tokens for replica in replicas),
            prefilled_tokens=sum(replica.prefilled_tokens for replica in replicas),
        )

    def advance(self, now_s: float) -> None:
        """Bring every replica's clock to ``now_s``, which is not past ``next_event_s``."""
        for index in range(len(self._replicas)):
            self._advance(index, now_s)

    def set_slowness(self, slowness: float) -> None:
        """From now on everything takes ``slowness`` times the model's seconds; all are idle."""
        for replica in self._replicas:
            replica.slowness = slowness

    def submit(self, slots: list[Slot], now_s: float) -> None:
        """Send each request to the replica with the fewest."""
        for slot in slots:
            index = self._least_loaded()
            self._advance(index, now_s)
            self._replicas[index].add(slot)
            self._change_load(index, 1)
            self._touched.add(index)

    def handle_event(self) -> Slot | None:
        """Let the next event happen: the response that ends, None when one was preempted."""
        now_s, index = self.next_event_s, self._events[0][1]
        replica = self._replicas[index]
        self._advance(index, now_s)
        ended = replica.handle_event()
        if ended is not None:
            self._change_load(index, -1)
        self._touched.add(index)
        return ended

    def abort_all(self, now_s: float) -> list[tuple[ResponseKey, int]]:
        """Throw everybody out; for each the tokens sampled since it was submitted."""
        self.advance(now_s)
        cut = []
        for index, replica in enumerate(self._replicas):
            cut += replica.abort_all()
            self._change_load(index, -self._loads[index])
            self._touched.add(index)
        return cut

    def _least_loaded(self) -> int:
        while self._loads[self._by_load[0][1]] != self._by_load[0][0]:
            heapq.heappop(self._by_load)
        return self._by_load[0][1]

    def _change_load(self, index: int, change: int) -> None:
        self._loads[index] += change
        if len(self._by_load) < STALE_FACTOR * len(self._loads):
            heapq.heappush(self._by_load, (self._loads[index], index))
        else:
            self._by_load = [(load, each) for each, load in enumerate(self._loads)]
            heapq.heapify(self._by_load)

    def _schedule(self, index: int) -> None:
        due_s = self._replicas[index].next_event_s
        if due_s != self._due[index]:
            self._due[index] = due_s
            if due_s < math.inf:
                heapq.heappush(self._events, (due_s, index))

    def _advance(self, index: int, now_s: float) -> None:
        seen_s = self._seen_s[index]
        if now_s > seen_s:
            replica = self._replicas[index]
            self._busy_s += replica.num_running * (now_s - seen_s)
            self._seen_s[index] = now_s
            replica.advance(now_s)
