"""Responses that stay in their engine while the weights change (strategy.park).

Aborting a response costs a message to its client and one back, with all its tokens, twice through
the router; on a small machine that is most of what an interruption costs. vLLM can stop instead,
keep its requests, and forget their keys and values (``pause_generation(mode="keep",
clear_cache=True)``): once it runs again it prefills them under the new weights, exactly as if they
had come back. Here is who stays where, on the server's side and on the router's.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from copris_core.rollout.order import ResponseKey

SEGMENTS: Final = "segments"
"""Of an answer's extra fields: (tokens, policy version) of each stretch between two updates."""

DRAIN_POLL_S: Final = 0.001
"""The engine has stopped; the outputs of its last step are still on their way to the server."""


@dataclass(slots=True, kw_only=True)
class EngineCall:
    """One call of a server's ``generate`` on behalf of a training response."""

    response: str
    """Whose it is, by the router's name."""
    request_id: str
    """What vLLM calls it."""
    segments: list[tuple[int, int]] = field(default_factory=list)
    """(tokens, policy version) of each stretch that ended with an update."""

    @property
    def num_told(self) -> int:
        """Tokens in ``segments``."""
        return sum(tokens for tokens, _ in self.segments)

    def cut(self, num_tokens: int, version: int) -> None:
        """The weights change; it has ``num_tokens`` so far, the latest of them of ``version``."""
        if num_tokens > self.num_told:
            self.segments.append((num_tokens - self.num_told, version))


class ParkingEngine:
    """Stops and starts one vLLM engine with its requests in it; knows who is there."""

    def __init__(self, engine: Any) -> None:
        """``engine``: the ``AsyncLLM``."""
        self._engine = engine
        self._visits: dict[str, EngineCall] = {}
        self._stopped_at: int | None = None
        self._started = asyncio.Event()
        self._started.set()

    @property
    def is_stopped(self) -> bool:
        """Whether its requests are frozen."""
        return not self._started.is_set()

    async def may_enter(self, stage: int | None) -> bool:
        """Wait until the engine runs; False at once for a late request of the stopped stage.

        Args:
            stage: the policy version under which the request was admitted; None: validation.
        """
        while not self._started.is_set():  # it may have stopped again before this task's turn
            if self._stopped_at is not None and stage is not None and stage <= self._stopped_at:
                return False
            await self._started.wait()
        return True

    def enter(self, visit: EngineCall) -> None:
        """A request is handed to the engine."""
        self._visits[visit.response] = visit

    def leave(self, visit: EngineCall) -> None:
        """Its answer is there."""
        self._visits.pop(visit.response, None)

    async def stop(self, stage: int, version: int) -> dict[str, int]:
        """Freeze every request and forget its keys and values.

        Args:
            stage: the policy version under which the stage that ends was opened.
            version: the policy version that sampled the latest tokens.

        Returns:
            Tokens so far of each request that stays; whoever is not named has its answer.
        """
        self._stopped_at = stage
        self._started.clear()
        # Not pause_generation(): it sleeps 20 ms for outputs that are waited for below.
        await self._engine.engine_core.pause_scheduler_async(mode="keep", clear_cache=True)
        while not self._engine.engine_core.outputs_queue.empty():
            await asyncio.sleep(DRAIN_POLL_S)
        await asyncio.sleep(DRAIN_POLL_S)  # for the output that was taken out last
        while not self._visits_by_id().keys() <= (so_far := self._so_far()).keys():
            await asyncio.sleep(DRAIN_POLL_S)  # being tokenised, or answered
        for request_id, visit in self._visits_by_id().items():
            visit.cut(so_far[request_id], version)
        return {visit.response: visit.num_told for visit in self._visits.values()}

    async def start(self, leaving: list[str]) -> None:
        """Run again, without those in ``leaving``: their callers get what they have."""
        self._stopped_at = None
        for name in leaving:
            if name in self._visits:
                await self._engine.abort(self._visits[name].request_id)
        await self._engine.resume_generation()
        self._started.set()

    def _visits_by_id(self) -> dict[str, EngineCall]:
        return {visit.request_id: visit for visit in self._visits.values()}

    def _so_far(self) -> dict[str, int]:
        """Tokens of each request that the engine holds."""
        states = self._engine.output_processor.request_states.values()
        return {each.external_req_id: each.detokenizer.num_output_tokens() for each in states}


@dataclass(slots=True, kw_only=True)
class Stay:
    """One call of ``Router.sample``, which may outlast several stages."""

    server_id: str
    """Where it is."""
    had: int
    """Tokens that the response had before this call."""
    prefix: int
    """Those of them that were sent along."""
    seen: int = 0
    """Tokens of this call that the gate has been told of."""
    resumed: "asyncio.Future[None] | None" = None
    """Set while it is parked; done once the gate has admitted it again."""

    has_ended: bool = False
    """Whether its engine answered after all while it was parked."""

    @property
    def is_parked(self) -> bool:
        """Whether the gate takes it for interrupted while its call goes on."""
        return self.resumed is not None


class Parking:
    """The router's book of who is in an engine, and who of them is parked."""

    def __init__(self) -> None:
        """Nobody is anywhere."""
        self._stays: dict[ResponseKey, Stay] = {}
        self._asked: set[ResponseKey] = set()
        self.is_stopped = False
        """Whether the engines stand still with parked responses in them."""
        self.started: asyncio.Future[Any] | None = None
        """Their answers to the latest start."""

    def refuse_failed_start(self) -> None:
        """A stage whose engines did not start would wait for ever.

        Raises:
            Exception: what an engine answered to the latest start instead of starting.
        """
        if self.started is not None and self.started.done():
            self.started.result()

    def enter(self, key: ResponseKey, stay: Stay) -> None:
        """A response goes to a server."""
        self._stays[key] = stay

    def leave(self, key: ResponseKey) -> Stay:
        """Its answer is there, or it failed."""
        return self._stays.pop(key)

    def parked(self) -> list[ResponseKey]:
        """Who is parked, in the order in which they came."""
        return [key for key, stay in self._stays.items() if stay.is_parked]

    def in_engines(self) -> list[ResponseKey]:
        """Those of them whose engine has not answered."""
        return [key for key in self.parked() if not self._stays[key].has_ended]

    def park(self, name: str, tokens: int) -> tuple[ResponseKey, int] | None:
        """A server says that a response stays with ``tokens`` of its call.

        Returns:
            Who it is, and how many tokens are new; None if its answer is here already.
        """
        uid, index = name.rsplit("_", 1)
        key = ResponseKey(uid, int(index))
        stay = self._stays.get(key)
        if stay is None or stay.is_parked:
            return None
        stay.resumed = asyncio.get_running_loop().create_future()
        new, stay.seen = tokens - stay.seen, tokens
        return key, new

    def resume(self, key: ResponseKey) -> Stay | None:
        """The gate has admitted somebody; who was parked goes on where it is."""
        stay = self._stays.get(key)
        if stay is None or stay.resumed is None:
            return None
        stay.resumed.set_result(None)
        stay.resumed = None
        self._asked.discard(key)
        return stay

    def names_by_server(self, keys: list[ResponseKey]) -> dict[str, list[str]]:
        """The server's names of these responses, by server."""
        names: dict[str, list[str]] = {}
        for key in keys:
            names.setdefault(self._stays[key].server_id, []).append(name_of(key))
        return names

    def to_ask(self) -> list[ResponseKey]:
        """Parked responses for whom nobody has asked at the gate yet; now somebody has."""
        keys = [key for key in self.parked() if key not in self._asked]
        self._asked.update(keys)
        return keys

    def has_asked(self, key: ResponseKey) -> bool:
        """Whether it waits at the gate already, from when it was parked; true once."""
        asked = key in self._asked
        self._asked.discard(key)
        return asked


def name_of(key: ResponseKey) -> str:
    """How servers call a response."""
    return f"{key.uid}_{key.index}"
