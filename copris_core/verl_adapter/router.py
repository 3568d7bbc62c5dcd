"""The gate as verl's global load balancer (rollout.router_config_path): one actor for all requests.

Translates calls into facts for ``AdmissionGate`` and its decisions into answers; decides nothing.
Training requests come through ``sample``; ``acquire_server`` and ``release_server`` serve whatever
else verl sends (validation), outside the in-flight limit.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import ray

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.occupancy import InFlightMeter
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.trajectory import is_interrupted

DRAIN_TIMEOUT_S = 60.0
"""An engine answers an abort within one decode step; a minute means that it is gone."""

INSTANT_S = 0.001
"""A stage shorter than this sampled nothing."""

MAX_WAITING_CALLS = 1_000_000
"""Ray admits 1000 concurrent calls by default, and every waiting response is one."""

ABORTED = ("aborted", "abort")
"""verl's stop reasons of a request that was cut off."""

Server = tuple[str, Any]


@dataclass(frozen=True, kw_only=True)
class News:
    """What the trainer must react to while a stage runs."""

    prompts_wanted: int
    """Prompts to draw now."""
    stage_is_over: bool
    """B groups are complete and the gate admits nobody any more."""
    failed: tuple[str, ...]
    """Prompts whose group failed since the last news."""


@dataclass(slots=True)
class _StageCounts:
    """What happened since the gate opened."""

    finished: int = 0
    interrupted: int = 0
    tokens: int = 0
    prefilled_again: int = 0
    over_at_s: float = 0.0
    drained_at_s: float = 0.0


class Router:
    """Routes requests to the least loaded server, at most N' of them at once."""

    def __init__(self, servers: dict[str, Any], config: dict[str, Any]) -> None:
        """``config`` holds concurrency (N'), groups_per_stage (B) and group_size (n)."""
        self._servers = dict(servers)
        self._loads = dict.fromkeys(servers, 0)
        self._gate = AdmissionGate(
            limit=FixedLimit(limit=config["concurrency"]),
            groups_per_stage=config["groups_per_stage"],
            group_size=config["group_size"],
        )
        self._callers: dict[ResponseKey, asyncio.Future[Server]] = {}
        self._meter = InFlightMeter()
        self._counts = _StageCounts()
        self._changed = asyncio.Condition()

    # ---- training requests ----

    async def sample(self, uid: str, index: int, request: dict[str, Any], prefix: int) -> Any:
        """Wait for a slot, send ``request`` to a server, give the slot back, return the answer.

        The call to the server is made here and not by the client, so that a freed slot is taken by
        the next response at once, however busy the agent-loop workers are.

        Args:
            uid: the prompt.
            index: the member of its group.
            request: arguments of the server's ``generate``.
            prefix: response tokens within the request that were sampled before.
        """
        key = ResponseKey(uid, index)
        server_id, server = await self._admission(key)
        tokens, interrupted = 0, False
        try:
            output = await server.generate.remote(**request)
            tokens, interrupted = len(output.token_ids), _is_interrupted(output, request)
        finally:
            # Also after an error: a slot that is never given back would stall the stage.
            self._unload(server_id)
            self._counts.tokens += tokens
            self._counts.prefilled_again += prefix
            self._counts.interrupted += interrupted
            self._counts.finished += not interrupted
            self._gate.settle(key, interrupted=interrupted)
            await self._react()
        return output

    async def complete(self, uid: str, *, failed: bool) -> None:
        """All responses of a prompt are stored (or one of them ``failed``)."""
        self._gate.complete(uid, failed=failed)
        await self._react()

    # ---- the trainer ----

    async def draw(self, uids: list[str], sizes: list[int]) -> None:
        """Prompts were drawn, in this order."""
        for uid, size in zip(uids, sizes, strict=True):
            self._gate.draw(uid, size)

    async def open(self, version: int) -> None:
        """Begin a stage under policy ``version``."""
        self._counts = _StageCounts()
        self._meter.start(time.monotonic(), self._gate.in_flight)
        self._gate.open(version)
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
        """``count`` complete groups, the earliest drawn first."""
        return self._gate.take(count)

    async def stage_report(self) -> dict[str, float]:
        """Metrics of the stage that has just been drained.

        A stage that found B groups carried over ended as it began; it has no in-flight to report.
        """
        counts, meter = self._counts, self._meter
        in_flight = {
            "rollout/in_flight": meter.mean,
            "rollout/occupancy": meter.mean / self._gate.limit,
        }
        return {
            **(in_flight if meter.open_s > INSTANT_S else {}),
            "rollout/limit": self._gate.limit,
            "rollout/open_s": self._meter.open_s,
            "rollout/stop_latency_s": max(0.0, counts.drained_at_s - counts.over_at_s),
            "rollout/reprefill_tokens": counts.prefilled_again,
            "rollout/interrupted": counts.interrupted,
            "rollout/unfinished": self._gate.num_live,
            "rollout/carried_groups": self._gate.num_ready,
            "samples/finished": counts.finished,
            "tokens/generated": counts.tokens,
        }

    # ---- verl's load-balancer protocol ----

    async def acquire_server(self, request_id: str) -> Server:
        """A server for a request that is not training's."""
        return self._load()

    async def release_server(self, server_id: str) -> None:
        """Such a request has ended."""
        self._unload(server_id)

    async def require_acquire_fields(self) -> list[str]:
        """Routing looks at the load alone."""
        return []

    async def require_release_fields(self) -> list[str]:
        """Counts by server."""
        return []

    async def add_servers(self, servers: dict[str, Any]) -> None:
        """Take replicas into rotation."""
        self._servers.update(servers)
        for server_id in servers:
            self._loads.setdefault(server_id, 0)

    async def remove_servers(self, server_ids: list[str]) -> None:
        """Take replicas out of rotation."""
        for server_id in server_ids:
            self._servers.pop(server_id, None)
            self._loads.pop(server_id, None)

    async def get_all_servers(self) -> list[str]:
        """Server ids in rotation."""
        return list(self._servers)

    async def get_total_inflight(self) -> int:
        """Requests on all servers, validation's included."""
        return sum(self._loads.values())

    async def get_status(self) -> dict[str, Any]:
        """The state, for debugging."""
        return {
            "servers": dict(self._loads),
            "total_inflight": sum(self._loads.values()),
            "active_servers": len(self._servers),
            "gate": self._gate.state.name,
            "in_flight": self._gate.in_flight,
            "waiting": self._gate.num_waiting,
        }

    async def clear_sticky_cache(self) -> dict[str, Any]:
        """Nothing sticks to a server here: prefix caches are reset at every weight update."""
        return {"cleared_entries": 0, "server_loads": dict(self._loads)}

    # ---- inside ----

    async def _admission(self, key: ResponseKey) -> Server:
        self._gate.ask(key)
        admission = asyncio.get_running_loop().create_future()
        self._callers[key] = admission
        await self._react()
        return await admission

    async def _react(self) -> None:
        """Carry out the gate's decisions after a fact; wake whoever waits for a change."""
        for key in self._gate.admit():
            self._callers.pop(key).set_result(self._load())
        now_s = time.monotonic()
        if self._gate.stage_is_over and not self._counts.over_at_s:
            self._counts.over_at_s = now_s
            self._meter.stop(now_s)
        self._meter.observe(now_s, self._gate.in_flight)
        if self._gate.state is Gate.CLOSED and not self._counts.drained_at_s:
            self._counts.drained_at_s = now_s
        async with self._changed:
            self._changed.notify_all()

    async def _until(self, question: Any, timeout_s: float) -> Any:
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
        failed = tuple(self._gate.take_failed())
        over = self._gate.stage_is_over
        wanted = self._gate.prompts_wanted()
        if not (failed or over or wanted):
            return None
        return News(prompts_wanted=wanted, stage_is_over=over, failed=failed)

    def _load(self) -> Server:
        if not self._loads:
            raise RuntimeError("No available servers in load balancer")
        server_id = min(self._loads, key=self._loads.__getitem__)
        self._loads[server_id] += 1
        return server_id, self._servers[server_id]

    def _unload(self, server_id: str) -> None:
        if server_id in self._loads:
            self._loads[server_id] -= 1


def _is_interrupted(output: Any, request: dict[str, Any]) -> bool:
    return is_interrupted(
        aborted=output.stop_reason in ABORTED,
        num_tokens=len(output.token_ids),
        max_tokens=request["sampling_params"]["max_tokens"],
    )


GateRouter = ray.remote(max_concurrency=MAX_WAITING_CALLS)(Router)
"""The class named by ``router_class`` in the router's YAML."""
