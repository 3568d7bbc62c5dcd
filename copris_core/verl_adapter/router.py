"""The gate as verl's global load balancer (rollout.router_config_path): one actor for all requests.

Translates calls into facts for ``AdmissionGate`` and its decisions into answers; decides nothing.
Training requests come through ``sample``; ``acquire_server`` and ``release_server`` serve whatever
else verl sends (validation), outside the in-flight limit.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray

from copris_core.rollout.adaptive import AdaptiveLimit
from copris_core.rollout.admission import Gate, GateState
from copris_core.rollout.events import Fact
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse
from copris_core.rollout.trajectory import is_interrupted
from copris_core.rollout.witness import Witness
from copris_core.verl_adapter.balancer import Balancer, Server
from copris_core.verl_adapter.gate_settings import gate_of
from copris_core.verl_adapter.keep import KEPT_TOKENS
from copris_core.verl_adapter.limits import WATCH_EVERY_S, engine_facts, limit_of, stage_facts
from copris_core.verl_adapter.stage import StageCounts

DRAIN_TIMEOUT_S = 60.0
"""An engine answers an abort within one decode step; a minute means that it is gone."""

MAX_WAITING_CALLS = 1_000_000
"""Ray admits 1000 concurrent calls by default, and every waiting response is one."""

ABORTED = ("aborted", "abort")
"""verl's stop reasons of a request that was cut off."""


class GroupDroppedError(RuntimeError):
    """The response belongs to a group that was given up for its age."""


@dataclass(frozen=True, kw_only=True)
class News:
    """What the trainer must react to while a stage runs."""

    prompts_wanted: int
    """Prompts to draw now."""
    stage_is_over: bool
    """B groups are complete and the gate admits nobody any more."""
    failed: tuple[str, ...]
    """Prompts whose group failed since the last news."""
    dropped: tuple[str, ...]
    """Prompts given up for their age whose responses have all ended since the last news."""
    reason: str
    """Why the last of ``failed`` did; empty without."""


class Router(Balancer):
    """Routes requests to the least loaded server, at most N' of them at once."""

    def __init__(self, servers: dict[str, Any], config: dict[str, Any]) -> None:
        """``config``: see ``gate_settings``."""
        super().__init__(servers)
        self._limit = limit_of(config)
        self._gate = gate_of(config, self._limit)
        self._drop_lag: int | None = config["drop_lag"]
        self._keeps_kv: bool = config["keeps_kv"]
        self._homes: dict[ResponseKey, str] = {}  # servers that keep a response's KV cache
        self._version = 0
        self._callers: dict[ResponseKey, asyncio.Future[Server]] = {}
        self._witness = Witness()
        self._counts = StageCounts(opened_at_s=time.monotonic())
        self._changed = asyncio.Condition()
        self._leaving: set[str] = set()  # dropped, with responses that have not ended yet
        self._dropped: list[str] = []
        self._reason = ""
        self._num_answers = 0
        self._watching: asyncio.Task[None] | None = None

    # ---- training requests ----

    async def sample(
        self, uid: str, index: int, request: dict[str, Any], *, prefix: int, had: int
    ) -> Any:
        """Wait for a slot, send ``request`` to a server, give the slot back, return the answer.

        The call to the server is made here and not by the client, so that a freed slot is taken by
        the next response at once, however busy the agent-loop workers are.

        Args:
            uid: the prompt.
            index: the member of its group.
            request: arguments of the server's ``generate``.
            prefix: response tokens within the request that were sampled before.
            had: tokens sampled for the response before, those of earlier turns included.

        Raises:
            GroupDroppedError: the group was given up meanwhile.
        """
        key = ResponseKey(uid, index)
        server_id, server = await self._admission(key)
        self._witness.admitted(key, self._version, had=had)
        name = {"response": f"{uid}_{index}"} if self._keeps_kv else {}
        output = None
        try:
            output = await server.generate.remote(**request, **name)
        finally:
            # Also after an error: a slot that is never given back would stall the stage.
            self._unload(server_id)
            kept = output.extra_fields.get(KEPT_TOKENS, 0) if output is not None else 0
            self._counts.kept_tokens += kept
            self._counts.prefilled_again += 0 if kept else prefix
            if self._keeps_kv and output is not None and _is_interrupted(output, request):
                self._homes[key] = server_id
            await self._settle(key, request, output)
        return output

    async def complete(
        self, uid: str, *, lengths: Mapping[int, int], retries: int, error: str | None
    ) -> None:
        """All responses of a prompt have ended.

        Args:
            uid: the prompt.
            lengths: tokens of each stored response by index.
            retries: responses that were tried again after an error.
            error: why the group failed; None when all are stored.
        """
        self._counts.retries += retries
        if uid in self._leaving:
            self._leaving.discard(uid)
            self._dropped.append(uid)
        else:
            self._gate.complete(uid, failed=error is not None)
            if error is None:
                self._witness.completed(uid, self._version, lengths)
            else:
                self._counts.failed_groups += 1
                self._witness.failed(uid, self._version, error)
                self._reason = error
        await self._react()

    # ---- the trainer ----

    async def draw(self, uids: list[str], sizes: list[int]) -> None:
        """Prompts were drawn, in this order."""
        for uid, size in zip(uids, sizes, strict=True):
            self._gate.draw(uid, size)

    async def open(self, version: int) -> None:
        """Begin a stage under policy ``version``."""
        self._version, now_s = version, time.monotonic()
        self._learn(now_s)
        self._counts = StageCounts(opened_at_s=now_s)
        self._counts.meter.start(now_s, self._gate.in_flight)
        if self._drop_lag is not None:
            self._drop_older_than(version - self._drop_lag)
        self._gate.open(version)
        if isinstance(self._limit, AdaptiveLimit):
            self._watching = asyncio.create_task(self._watch_engines(self._limit))
        await self._react()

    async def news(self, timeout_s: float) -> News | None:
        """Wait until the trainer has something to do; None after ``timeout_s`` without news."""
        return await self._until(self._news_now, timeout_s)

    async def drained(self) -> None:
        """Wait until every response in flight has been settled.

        Raises:
            RuntimeError: an engine did not answer the abort.
        """
        if not await self._until(lambda: self._gate.state is Gate.CLOSED, DRAIN_TIMEOUT_S):
            lost = ", ".join(f"{key.uid}:{key.index}" for key in self._gate.running())
            raise RuntimeError(f"no answer to the abort within {DRAIN_TIMEOUT_S:.0f} s from {lost}")

    async def take(self, count: int) -> list[str]:
        """``count`` complete groups, the oldest first."""
        taken = self._gate.take(count)
        self._witness.forget(taken)
        return taken

    async def stage_report(self) -> dict[str, float]:
        """Metrics of the stage that has just been drained."""
        return {
            **self._counts.metrics(self._gate.limit),
            "rollout/limit": self._gate.limit,
            **(self._limit.metrics() if isinstance(self._limit, AdaptiveLimit) else {}),
            "rollout/unfinished": self._gate.num_live,
            "rollout/carried_groups": self._gate.num_ready,
        }

    async def facts(self) -> list[Fact]:
        """What happened since the last call, for the ledger."""
        return self._witness.take()

    # ---- across a restart ----

    async def num_answers(self) -> int:
        """Calls of ``sample`` that were admitted and have ended, with an answer or an error."""
        return self._num_answers

    async def limit_state(self) -> dict[str, Any]:
        """What the limit has learnt."""
        return self._limit.state_dict() if isinstance(self._limit, AdaptiveLimit) else {}

    async def load_limit_state(self, state: dict[str, Any]) -> None:
        """Take it up again."""
        if isinstance(self._limit, AdaptiveLimit) and state:
            self._limit.load_state_dict(state)

    async def snapshot(self) -> GateState:
        """The closed gate, written down."""
        return self._gate.snapshot()

    async def restore(self, state: GateState, responses: list[PartialResponse]) -> None:
        """Take up a gate that was written down, with the responses that had begun."""
        self._gate.restore(state)
        self._witness.restored(responses)

    async def get_status(self) -> dict[str, Any]:
        """The state, for debugging."""
        gate = {
            "gate": self._gate.state.name,
            "in_flight": self._gate.in_flight,
            "waiting": self._gate.num_waiting,
        }
        return {**await super().get_status(), **gate}

    # ---- inside ----

    async def _admission(self, key: ResponseKey) -> Server:
        if key.uid in self._leaving:
            raise GroupDroppedError(f"group {key.uid} was given up")
        self._gate.ask(key)
        admission = asyncio.get_running_loop().create_future()
        self._callers[key] = admission
        await self._react()
        return await admission

    async def _settle(self, key: ResponseKey, request: dict[str, Any], output: Any) -> None:
        """A response has left its engine; ``output`` is None after an error."""
        interrupted = output is not None and _is_interrupted(output, request)
        if output is not None:
            self._witness.sampled(key, len(output.token_ids))
            self._counts.tokens += len(output.token_ids)
            self._counts.interrupted += interrupted
            self._counts.finished += not interrupted
        self._num_answers += 1
        self._gate.settle(key, interrupted=interrupted)
        await self._react()

    async def _react(self) -> None:
        """Carry out the gate's decisions after a fact; wake whoever waits for a change."""
        for key in self._gate.admit():
            self._callers.pop(key).set_result(self._load(self._homes.pop(key, None)))
        now_s, counts = time.monotonic(), self._counts
        if counts.over_at_s is None and self._gate.stage_is_over:
            counts.over_at_s = now_s
            counts.meter.stop(now_s)
        counts.meter.observe(now_s, self._gate.in_flight)
        if counts.drained_at_s is None and self._gate.state is Gate.CLOSED:
            counts.drained_at_s = now_s
        async with self._changed:
            self._changed.notify_all()

    def _learn(self, now_s: float) -> None:
        """Tell an adaptive limit what the stage before, and the rest of its step, came to."""
        if isinstance(self._limit, AdaptiveLimit):
            facts = stage_facts(self._counts, limit=self._gate.limit, next_opens_at_s=now_s)
            if facts is not None:
                self._limit.end_stage(facts)

    async def _watch_engines(self, limit: AdaptiveLimit) -> None:
        """Tell it what the engines report, for as long as the stage runs."""
        while self._gate.state is not Gate.CLOSED:
            servers = self._servers.values()
            told = await asyncio.gather(*(each.engine_facts.remote() for each in servers))
            limit.observe(engine_facts(told))
            await self._react()
            await asyncio.sleep(WATCH_EVERY_S)

    def _drop_older_than(self, version: int) -> None:
        """Give groups up; those that have not ended are gone once their responses have."""
        complete, growing = self._gate.drop_older_than(version)
        self._witness.dropped([*complete, *growing], self._version)
        self._counts.dropped_groups += len(complete) + len(growing)
        self._dropped.extend(complete)
        self._leaving.update(growing)
        self._homes = {key: home for key, home in self._homes.items() if key.uid not in growing}
        for key in [key for key in self._callers if key.uid in self._leaving]:
            self._callers.pop(key).set_exception(GroupDroppedError(f"group {key.uid} is too old"))

    async def _until(self, question: Callable[[], Any], timeout_s: float) -> Any:
        async def answered() -> Any:
            async with self._changed:
                while not (answer := question()):
                    await self._changed.wait()
                return answer

        try:
            return await asyncio.wait_for(answered(), timeout_s)
        except asyncio.TimeoutError:
            return None

    def _news_now(self) -> News | None:
        failed, dropped = tuple(self._gate.take_failed()), tuple(self._dropped)
        self._dropped = []
        over = self._gate.stage_is_over
        wanted = self._gate.prompts_wanted()
        if not (failed or dropped or over or wanted):
            return None
        return News(
            prompts_wanted=wanted,
            stage_is_over=over,
            failed=failed,
            dropped=dropped,
            reason=self._reason if failed else "",
        )


def _is_interrupted(output: Any, request: dict[str, Any]) -> bool:
    return is_interrupted(
        aborted=output.stop_reason in ABORTED,
        num_tokens=len(output.token_ids),
        max_tokens=request["sampling_params"]["max_tokens"],
    )


GateRouter = ray.remote(max_concurrency=MAX_WAITING_CALLS)(Router)
"""The class named by ``router_class`` in the router's YAML."""
