"""Whole training steps on a virtual clock, with the real admission gate in the middle.

One step, as the trainer drives it: the gate opens, interrupted responses ask again, prompts are
drawn on demand, slots turn over; the gate closes itself at the B-th complete group; everybody is
aborted and kept as a partial; the weights update. Same seed, same step, to the last bit.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import EngineFacts, Limit, StageFacts
from copris_core.rollout.occupancy import InFlightMeter
from copris_core.rollout.order import ResponseKey
from copris_core.simulator.engine import EngineModel, Slot
from copris_core.simulator.events import EventLog, Happening
from copris_core.simulator.fleet import Fleet
from copris_core.simulator.lengths import Lengths
from copris_core.simulator.step_result import StageResult


class Controller(Limit, Protocol):
    """A limit that learns from what the engines and the stages report."""

    def observe(self, facts: EngineFacts) -> None:
        """The engines' state at one moment of a stage."""

    def end_stage(self, facts: StageFacts) -> None:
        """What the step that has just ended came to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is sampled and trained per step."""

    lengths: Lengths
    """Distribution of the response lengths."""
    groups_per_stage: int
    """B, complete groups per update."""
    group_size: int
    """n, responses per prompt."""
    prompt_tokens: int
    """Tokens of every prompt."""
    update_s: float
    """Seconds of a step outside generation that do not depend on its tokens."""
    update_token_s: float = 0.0
    """Seconds outside generation per trained token."""
    update_padded_token_s: float = 0.0
    """Seconds outside generation per token of the batch padded to its longest response; what a
    trainer costs that does not remove the padding."""

    @property
    def samples_per_stage(self) -> int:
        """B n, responses trained per step."""
        return self.groups_per_stage * self.group_size

    def update_seconds(self, *, tokens: float, padded_tokens: float) -> float:
        """Seconds of a step outside generation, for a batch of so many tokens."""
        by_token_s = self.update_token_s * tokens + self.update_padded_token_s * padded_tokens
        return self.update_s + by_token_s


@dataclass(slots=True, kw_only=True)
class _Response:
    length: int
    sampled: int = 0
    interruptions: int = 0
    segments: list[tuple[int, int]] = field(default_factory=list)  # (version, tokens)


@dataclass(slots=True)
class _Counts:
    finished: int = 0
    tokens: int = 0
    prefilled_again: int = 0


class Simulation:
    """Steps of one run. ``gate`` is driven as the router and the trainer drive it."""

    def __init__(
        self,
        *,
        gate: AdmissionGate,
        engine: EngineModel,
        workload: Workload,
        seed: int,
        controller: Controller | None = None,
        noise: float = 0.0,
        observe_every_s: float = 1.0,
        events: EventLog | None = None,
    ) -> None:
        """Start at time 0 with nothing drawn.

        Args:
            gate: fresh, for B groups of n.
            engine: the replicas.
            workload: what is sampled; its B and n are the gate's.
            seed: of the lengths and the noise.
            controller: the gate's limit, if it wants to be told what happens.
            noise: standard deviation of the log of the engine's speed, by stage.
            observe_every_s: virtual seconds between two reports to the controller.
            events: is told whatever happens.
        """
        self.gate = gate
        self.now_s = 0.0
        self.version = 0
        self._engine = engine
        self._workload = workload
        self._controller = controller
        self._noise = noise
        self._observe_every_s = observe_every_s
        self._events = events
        self._rng = np.random.default_rng(seed)
        # Of its own, so that a prompt has the same lengths however many stages came before it.
        self._noise_rng = np.random.default_rng([seed, 1])
        self._fleet = Fleet(engine)
        self._growing: dict[str, list[_Response]] = {}
        self._unfinished: dict[str, int] = {}
        self._complete: dict[str, list[_Response]] = {}
        self._paused: list[ResponseKey] = []
        self._num_drawn = 0
        self._next_look_s = 0.0
        self._meter = InFlightMeter()
        self._counts = _Counts()

    @property
    def unfinished_tokens(self) -> int:
        """Tokens held by responses of groups that are not complete."""
        return sum(each.sampled for group in self._growing.values() for each in group)

    @property
    def carried_tokens(self) -> int:
        """Tokens of complete groups that are not trained yet."""
        return sum(each.length for group in self._complete.values() for each in group)

    def run(self, num_stages: int) -> list[StageResult]:
        """``num_stages`` further training steps."""
        return [self.run_stage() for _ in range(num_stages)]

    def run_stage(self) -> StageResult:
        """One training step: open, sample, stop, update.

        Raises:
            RuntimeError: nobody runs, nobody may start, and B groups are not complete.
        """
        start_s, prefill_s = self.now_s, self._fleet.prefill_s
        busy_s = self._fleet.busy_s
        preemptions = self._fleet.preemptions
        self._open()
        self._sample()
        open_s, limit = self.now_s - start_s, self.gate.limit
        self._meter.stop(self.now_s)
        self._tell(Happening.OVER)
        interrupted = self._stop()
        prefill_s = self._fleet.prefill_s - prefill_s
        batch = self._take()
        trained_tokens = sum(response.length for response in batch)
        padded_tokens = len(batch) * max(response.length for response in batch)
        result = StageResult(
            start_s=start_s,
            decode_s=open_s - prefill_s,
            prefill_s=prefill_s,
            stop_s=self._engine.stop_s if interrupted else 0.0,
            update_s=self._workload.update_seconds(
                tokens=trained_tokens, padded_tokens=padded_tokens
            ),
            limit=limit,
            in_flight=self._meter.mean,
            occupancy=self._meter.mean / limit,
            running=(self._fleet.busy_s - busy_s) / open_s if open_s else 0.0,
            finished=self._counts.finished,
            tokens=self._counts.tokens,
            prefilled_again=self._counts.prefilled_again,
            interrupted=interrupted,
            preemptions=self._fleet.preemptions - preemptions,
            trained=len(batch),
            trained_tokens=trained_tokens,
            padded_tokens=padded_tokens,
            trained_interruptions=sum(response.interruptions for response in batch),
            tokens_by_lag=self._tokens_by_lag(batch),
        )
        self._update(result)
        return result

    # ---- the parts of a step ----

    def _open(self) -> None:
        self._fleet.advance(self.now_s)
        self._fleet.set_slowness(float(np.exp(self._noise * self._noise_rng.standard_normal())))
        self._counts = _Counts()
        self._next_look_s = self.now_s + self._observe_every_s
        self.gate.open(self.version)
        self._tell(Happening.OPENED)
        paused, self._paused = self._paused, []
        for key in paused:
            self.gate.ask(key)
        self._meter.start(self.now_s, 0)
        self._react()

    def _sample(self) -> None:
        while self.gate.state is Gate.OPEN:
            next_s = self._fleet.next_event_s
            if self._controller is not None and next_s >= self._next_look_s:
                self.now_s = self._next_look_s
                self._next_look_s += self._observe_every_s
                self._controller.observe(self._fleet.facts(self.now_s))
                continue
            if next_s == math.inf:
                raise RuntimeError("the stage cannot end: nobody runs and nobody may start")
            self.now_s = next_s
            ended = self._fleet.handle_event()
            if ended is None:
                self._tell(Happening.PREEMPTED)
            else:
                self._finish(ended.key, ended.kept + ended.remaining)
                self._react()

    def _react(self) -> None:
        """Draw what the gate wants, start whom it admits."""
        for _ in range(self.gate.prompts_wanted()):
            self._draw()
        admitted = self.gate.admit()
        if admitted:
            self._fleet.submit([self._slot(key) for key in admitted], self.now_s)
        self._meter.observe(self.now_s, self.gate.in_flight)

    def _draw(self) -> None:
        uid, size = f"prompt-{self._num_drawn}", self._workload.group_size
        lengths = self._workload.lengths.draw(self._rng, size)
        self._num_drawn += 1
        self._growing[uid] = [_Response(length=length) for length in lengths]
        self._unfinished[uid] = size
        self.gate.draw(uid, size)
        self._tell(Happening.DRAWN, ResponseKey(uid, 0), lengths=tuple(lengths))
        for index in range(size):
            self.gate.ask(ResponseKey(uid, index))

    def _slot(self, key: ResponseKey) -> Slot:
        response = self._growing[key.uid][key.index]
        self._counts.prefilled_again += response.sampled
        self._tell(Happening.ADMITTED, key, tokens=response.sampled)
        return Slot(
            key=key,
            prefix=self._workload.prompt_tokens + response.sampled,
            remaining=response.length - response.sampled,
        )

    def _finish(self, key: ResponseKey, tokens: int) -> None:
        response = self._absorb(key, tokens)
        self._tell(Happening.FINISHED, key, tokens=response.sampled)
        self._counts.finished += 1
        self.gate.settle(key, interrupted=False)
        self._unfinished[key.uid] -= 1
        if not self._unfinished[key.uid]:
            del self._unfinished[key.uid]
            self._complete[key.uid] = self._growing.pop(key.uid)
            self.gate.complete(key.uid, failed=False)

    def _stop(self) -> int:
        cut = self._fleet.abort_all(self.now_s)
        for key, tokens in cut:
            response = self._absorb(key, tokens)
            response.interruptions += 1
            self._tell(Happening.INTERRUPTED, key, tokens=response.sampled)
            self.gate.settle(key, interrupted=True)
            self._paused.append(key)
        return len(cut)

    def _take(self) -> list[_Response]:
        uids = self.gate.take(self._workload.groups_per_stage)
        return [response for uid in uids for response in self._complete.pop(uid)]

    def _update(self, result: StageResult) -> None:
        self.now_s += result.stop_s + result.update_s
        self.version += 1
        self._tell(Happening.UPDATED, tokens=result.trained_tokens)
        if self._controller is not None:
            self._controller.end_stage(result.facts)

    def _absorb(self, key: ResponseKey, tokens: int) -> _Response:
        response = self._growing[key.uid][key.index]
        response.sampled += tokens
        self._counts.tokens += tokens
        if tokens:
            response.segments.append((self.version, tokens))
        return response

    def _tokens_by_lag(self, batch: list[_Response]) -> dict[int, int]:
        lags: Counter[int] = Counter()
        for response in batch:
            for version, tokens in response.segments:
                lags[self.version - version] += tokens
        return dict(sorted(lags.items()))

    def _tell(
        self,
        happening: Happening,
        key: ResponseKey | None = None,
        *,
        tokens: int | None = None,
        lengths: tuple[int, ...] | None = None,
    ) -> None:
        if self._events is not None:
            self._events.tell(
                happening,
                at_s=self.now_s,
                version=self.version,
                key=key,
                tokens=tokens,
                lengths=lengths,
            )
