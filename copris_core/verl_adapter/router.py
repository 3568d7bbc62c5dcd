"""The gate as verl's global load balancer (rollout.router_config_path): one actor for all requests.

Translates calls into facts for ``AdmissionGate`` and its decisions into answers; decides nothing.
Training requests come through ``sample``; ``acquire_server`` and ``release_server`` serve whatever
else verl sends (validation), outside the in-flight limit.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from copris_core.verl_adapter.gate_settings import filter_of, gate_of
from copris_core.verl_adapter.group_ends import GroupEnds
from copris_core.verl_adapter.keep import KEPT_TOKENS
from copris_core.verl_adapter.limits import WATCH_EVERY_S, engine_facts, limit_of, stage_facts
from copris_core.verl_adapter.news import GroupDroppedError, News
from copris_core.verl_adapter.parking import Parking, Stay, name_of
from copris_core.verl_adapter.stage import StageCounts

DRAIN_TIMEOUT_S = 60.0
"""An engine answers an abort within one decode step; a minute means that it is gone."""

MAX_WAITING_CALLS = 1_000_000
"""Ray admits 1000 concurrent calls by default, and every waiting response is one."""

ABORTED = ("aborted", "abort")
"""verl's stop reasons of a request that was cut off."""


class Router(Balancer):
    """Routes requests to the least loaded server, at most N' of them at once."""

    def __init__(self, servers: dict[str, Any], config: dict[str, Any]) -> None:
        """``config``: see ``gate_settings``."""
        super().__init__(servers)
        self._limit = limit_of(config)
        self._gate = gate_of(config, self._limit)
        self._drop_lag: int | None = config["drop_lag"]
        self._keeps_kv: bool = config["keeps_kv"]
        self._parking = Parking()
        self._early: set[ResponseKey] = set()  # admitted before they came back from their engine
        self._homes: dict[ResponseKey, str] = {}  # servers that keep a response's KV cache
        self._version = 0
        self._callers: dict[ResponseKey, asyncio.Future[Server]] = {}
        self._witness = Witness()
        self._ends = GroupEnds(self._gate, self._witness, filter_of(config))
        self._counts = StageCounts(opened_at_s=time.monotonic())
        self._changed = asyncio.Condition()
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
        stay = Stay(server_id=server_id, had=had, prefix=prefix)
        self._parking.enter(key, stay)
        output = None
        try:
            output = await server.generate.remote(
                **request, response=name_of(key), stage=self._version
            )
            if stay.resumed is not None and output.stop_reason not in ABORTED:
                stay.has_ended = True  # while the gate took it for interrupted
                await stay.resumed
        finally:
            # Also after an error: a slot that is never given back would stall the stage.
            self._parking.leave(key)
            self._unload(server_id)
            self._account(key, stay, output, request)
            await self._settle(key, stay, request, output)
        return output

    async def complete(
        self,
        uid: str,
        *,
        lengths: Mapping[int, int],
        retries: int,
        error: str | None,
        scores: Sequence[float] = (),
    ) -> None:
        """All responses of a prompt have ended.

        Args:
            uid: the prompt.
            lengths: tokens of each stored response by index.
            retries: responses that were tried again after an error.
            error: why the group failed; None when all are stored.
            scores: what the verifier gave each of them, before any shaping.
        """
        self._counts.retries += retries
        self._ends.complete(
            uid, self._version, self._counts, lengths=lengths, scores=scores, error=error
        )
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
        self._ends.begin_stage()
        if self._drop_lag is not None:
            self._drop_older_than(version - self._drop_lag)
        self._gate.open(version)
        if self._gate.state is Gate.OPEN:
            for key in self._parking.to_ask():
                self._gate.ask(key)
        if isinstance(self._limit, AdaptiveLimit):
            self._watching = asyncio.create_task(self._watch_engines(self._limit))
        await self._react()

    async def news(self, timeout_s: float) -> News | None:
        """Wait until the trainer has something to do; None after ``timeout_s`` without news."""
        return await self._until(self._news_now, timeout_s)

    async def park(self) -> None:
        """The stage is over: stop the engines with everything in them.

        Requests that were admitted but have not reached an engine are refused by it and come back
        as partials without new tokens.
        """
        self._parking.is_stopped = True
        told = await asyncio.gather(
            *(server.stop.remote(self._version) for server in self._servers.values())
        )
        for name, tokens in [pair for each in told for pair in each.items()]:
            parked = self._parking.park(name, tokens)
            if parked is not None:
                key, new = parked
                self._witness.sampled(key, new)
                self._counts.tokens += new
                self._counts.interrupted += 1
                self._gate.settle(key, interrupted=True)
        await self._react()

    async def unpark(self) -> None:
        """Send whoever is parked back to its client, as if it had been aborted."""
        if self._parking.is_stopped:
            self._start_engines(staying=[])
            await self._parking.started
        if not await self._until(lambda: not self._parking.in_engines(), DRAIN_TIMEOUT_S):
            raise RuntimeError(_no_answer_from(self._parking.in_engines()))

    async def drained(self) -> None:
        """Wait until every response in flight has been settled.

        Raises:
            RuntimeError: an engine did not answer the abort.
        """
        if not await self._until(lambda: self._gate.state is Gate.CLOSED, DRAIN_TIMEOUT_S):
            raise RuntimeError(_no_answer_from(self._gate.running()))

    async def take(self, count: int) -> list[str]:
        """``count`` complete groups, the oldest first."""
        taken = self._gate.take(count)
        self._witness.forget(taken)
        return taken

    async def end_stage(self) -> tuple[dict[str, float], list[Fact]]:
        """Metrics of the stage that has just been drained, and the facts since the last call."""
        return await self.stage_report(), await self.facts()

    async def stage_report(self) -> dict[str, float]:
        """Metrics of the stage that has just been drained."""
        return {
            **self._counts.metrics(self._gate.limit),
            "rollout/limit": self._gate.limit,
            **self._ends.metrics(),
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
        if self._ends.is_leaving(key.uid):
            raise GroupDroppedError(f"group {key.uid} was given up")
        if not self._parking.has_asked(key):
            self._gate.ask(key)
        if key in self._early:
            self._early.discard(key)
            return self._load(self._homes.pop(key, None))
        admission = asyncio.get_running_loop().create_future()
        self._callers[key] = admission
        await self._react()
        return await admission

    def _account(self, key: ResponseKey, stay: Stay, output: Any, request: dict[str, Any]) -> None:
        kept = output.extra_fields.get(KEPT_TOKENS, 0) if output is not None else 0
        self._counts.kept_tokens += kept
        self._counts.prefilled_again += 0 if kept else stay.prefix
        if self._keeps_kv and output is not None and _is_interrupted(output, request):
            self._homes[key] = stay.server_id

    async def _settle(
        self, key: ResponseKey, stay: Stay, request: dict[str, Any], output: Any
    ) -> None:
        """A response has left its engine; ``output`` is None after an error."""
        interrupted = output is not None and _is_interrupted(output, request)
        self._num_answers += 1
        if output is not None:
            new = len(output.token_ids) - stay.seen
            self._witness.sampled(key, new)
            self._counts.tokens += new
        if not stay.is_parked:  # the gate was told of that when it was parked
            self._counts.interrupted += interrupted
            self._counts.finished += output is not None and not interrupted
            self._gate.settle(key, interrupted=interrupted)
        await self._react()

    async def _react(self) -> None:
        """Carry out the gate's decisions after a fact; wake whoever waits for a change."""
        admitted = self._gate.admit()
        if admitted and self._parking.is_stopped:
            self._start_engines(staying=admitted)
        for key in admitted:
            self._let_in(key)
        now_s, counts = time.monotonic(), self._counts
        if counts.over_at_s is None and self._gate.stage_is_over:
            counts.over_at_s = now_s
            counts.meter.stop(now_s)
        counts.meter.observe(now_s, self._gate.in_flight)
        if counts.drained_at_s is None and self._gate.state is Gate.CLOSED:
            counts.drained_at_s = now_s
        async with self._changed:
            self._changed.notify_all()

    def _let_in(self, key: ResponseKey) -> None:
        stay = self._parking.resume(key)
        if stay is not None:
            self._witness.admitted(key, self._version, had=stay.had + stay.seen)
            self._counts.prefilled_again += stay.prefix + stay.seen
        elif key in self._callers:
            self._callers.pop(key).set_result(self._load(self._homes.pop(key, None)))
        else:
            self._early.add(key)

    def _start_engines(self, staying: list[ResponseKey]) -> None:
        """Let the engines run; who is parked and has not been admitted goes back to its client."""
        self._parking.is_stopped = False
        stays = set(staying)
        leaving = [key for key in self._parking.in_engines() if key not in stays]
        names = self._parking.names_by_server(leaving)
        self._parking.started = asyncio.gather(
            *(
                server.start_again.remote(names.get(server_id, []))
                for server_id, server in self._servers.items()
            )
        )

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
        growing = self._ends.drop_older_than(version, self._version, self._counts)
        self._homes = {key: home for key, home in self._homes.items() if key.uid not in growing}
        for key in [key for key in self._callers if key.uid in growing]:
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
        self._parking.refuse_failed_start()
        return self._ends.news()


def _no_answer_from(keys: Iterable[ResponseKey]) -> str:
    lost = ", ".join(f"{key.uid}:{key.index}" for key in keys)
    return f"no answer to the abort within {DRAIN_TIMEOUT_S:.0f} s from {lost}"


def _is_interrupted(output: Any, request: dict[str, Any]) -> bool:
    return is_interrupted(
        aborted=output.stop_reason in ABORTED,
        num_tokens=len(output.token_ids),
        max_tokens=request["sampling_params"]["max_tokens"],
    )


GateRouter = ray.remote(max_concurrency=MAX_WAITING_CALLS)(Router)
"""The class named by ``router_class`` in the router's YAML."""
