"""vLLM's engine, with requests that stay in it while the weights change (strategy.resume_kv=keep).

A stage ends as it always does: every caller gets the tokens so far as an aborted answer, so that
gate, ledger and checkpoint see all of them. Only the engine does not forget: the requests freeze
where they are, KV cache and all, and who comes back for the rest finds them. Whoever does not, or
cannot (after a restart, on another replica), is prefilled again.

An approximation: what follows is sampled on keys and values of the old weights. The log-probs are
those of what was really sampled from, so importance ratios against them stay right.
"""

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from copris_core.rollout.states import check_move

KEPT_TOKENS: Final = "kv_kept_tokens"
"""Of an answer's extra fields: tokens of the request that were not prefilled again."""

UNCLAIMED_S: Final = 5.0
"""How long a kept request runs on without its caller. Those whom the gate admits come back within
milliseconds; the others wait for a smaller limit, or went to another replica."""

DRAIN_POLL_S: Final = 0.002
"""The engine has stopped; the outputs of its last step are still on their way to us."""


@dataclass(slots=True, kw_only=True)
class Visit:
    """One call of the server's ``generate`` on behalf of a training response."""

    response: str
    """Who comes back: the same name at every visit."""
    kept_tokens: int = 0
    """Tokens of the request that were still in the KV cache and not prefilled again."""


VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)
"""Of the current task; None for whatever is not training's."""


class Pace(Enum):
    """What the engine is doing."""

    RUNNING = auto()
    STOPPED = auto()
    DOZING = auto()  # it may run, and does so when the first request comes


PACE_MOVES = {
    Pace.RUNNING: frozenset({Pace.RUNNING, Pace.STOPPED}),
    Pace.STOPPED: frozenset({Pace.STOPPED, Pace.RUNNING, Pace.DOZING}),
    Pace.DOZING: frozenset({Pace.DOZING, Pace.RUNNING, Pace.STOPPED}),
}


class KeepingEngine:
    """Stands before an ``AsyncLLM``: pausing keeps training's requests instead of aborting them."""

    def __init__(self, engine: Any, *, abort: Any) -> None:
        """Everything that is not told here goes to ``engine`` unchanged.

        Args:
            engine: the ``AsyncLLM``.
            abort: vLLM's ``FinishReason.ABORT``.
        """
        self._engine = engine
        self._abort = abort
        self._pace = Pace.RUNNING
        self._num_stops = 0
        self._open: dict[str, _Request] = {}  # by request id
        self._kept: dict[str, _Request] = {}  # by response
        self._expiry: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @property
    def num_kept(self) -> int:
        """Requests that wait in the engine for their caller."""
        return len(self._kept)

    async def generate(
        self, *, prompt: dict[str, Any], sampling_params: Any, request_id: str, **inputs: Any
    ) -> AsyncIterator[Any]:
        """As vLLM's; the outputs of a continued request begin after the caller's tokens."""
        visit = VISIT.get()
        request = await self._claim(visit, prompt["prompt_token_ids"], sampling_params.max_tokens)
        await self._wake()
        if request is None:
            # Blocks that the old weights computed must not serve as anybody's prefix: while a kept
            # request holds blocks, vLLM cannot reset its prefix cache.
            salted = {**prompt, "cache_salt": f"stop {self._num_stops}"}
            outputs = self._engine.generate(
                prompt=salted, sampling_params=sampling_params, request_id=request_id, **inputs
            )
            request = _Request(request_id, visit, prompt, sampling_params.max_tokens, outputs)
        self._open[request.id] = request
        try:
            async for output in request.read():
                yield output
        finally:
            self._open.pop(request.id, None)

    async def pause_generation(self, **_: Any) -> None:
        """Stop, tell every caller of training what it has, and keep the rest of its request.

        The caches are left alone: they hold what is kept.
        """
        ran_unclaimed = self._pace is Pace.RUNNING
        self._move(Pace.STOPPED)
        if self._expiry is not None:
            self._expiry.cancel()
        await self._engine.pause_generation(mode="keep", clear_cache=False)
        while not self._engine.engine_core.outputs_queue.empty():
            await asyncio.sleep(DRAIN_POLL_S)
        if ran_unclaimed:  # what they sampled would get the wrong policy version
            await self.drop_kept()
        self._num_stops += 1
        states = {
            s.external_req_id: s for s in self._engine.output_processor.request_states.values()
        }
        for request in list(self._open.values()):
            state = states.get(request.id)
            if state is None:
                continue  # finished: its last output is on the way
            if request.visit is None:
                await self._engine.abort(request.id)  # its caller gets that as an answer
                continue
            request.cut(self._so_far(state))
            self._kept[request.visit.response] = request

    async def resume_generation(self) -> None:
        """Run again, with kept requests only when the first caller comes: they would run ahead."""
        if self._kept:
            self._move(Pace.DOZING)
            return
        self._move(Pace.RUNNING)
        await self._engine.resume_generation()

    async def drop_kept(self) -> None:
        """Free what is kept; whoever comes back is prefilled again."""
        dropped, self._kept = list(self._kept.values()), {}
        for request in dropped:
            await request.close()

    async def _claim(
        self, visit: Visit | None, tokens: list[int], max_tokens: int
    ) -> "_Request | None":
        """The kept request that this one continues, if there is one."""
        if visit is None:  # a validation: kept requests would share the engine with it
            await self.drop_kept()
            return None
        request = self._kept.pop(visit.response, None)
        if request is None:
            return None
        if not request.is_continued_by(tokens, max_tokens):
            await request.close()
            return None
        visit.kept_tokens = len(tokens)
        request.visit = visit
        return request

    async def _wake(self) -> None:
        if self._pace is not Pace.DOZING:
            return
        self._move(Pace.RUNNING)
        self._expiry = asyncio.create_task(self._expire())
        await self._engine.resume_generation()

    async def _expire(self) -> None:
        await asyncio.sleep(UNCLAIMED_S)
        await self.drop_kept()

    def _so_far(self, state: Any) -> Any:
        """What vLLM would answer if the request were aborted now; verl asks it in the same way."""
        return state.make_request_output(
            new_token_ids=[], pooling_output=None, finish_reason=self._abort, stop_reason=None
        )

    def _move(self, to: Pace) -> None:
        self._pace = check_move(PACE_MOVES, self._pace, to, "engine")


class _Request:
    """A request of the engine, read by one caller after another."""

    def __init__(
        self,
        request_id: str,
        visit: Visit | None,
        prompt: dict[str, Any],
        max_tokens: int,
        outputs: AsyncIterator[Any],
    ) -> None:
        self.id = request_id
        self.visit = visit
        self._tokens = list(prompt["prompt_token_ids"])  # and all that callers were given
        self._num_given = 0
        self._max_tokens = max_tokens
        self._outputs = outputs
        self._next: asyncio.Future[Any] | None = None
        self._cut: asyncio.Future[Any] | None = None

    def is_continued_by(self, tokens: list[int], max_tokens: int) -> bool:
        """Whether the caller has all that it was given, and asks for all that is left."""
        return list(tokens) == self._tokens and max_tokens == self._max_tokens - self._num_given

    def cut(self, so_far: Any) -> None:
        """End the caller's reading with these outputs; the request itself goes on."""
        assert self._cut is not None
        self._cut.set_result(so_far)

    async def read(self) -> AsyncIterator[Any]:
        """Outputs since the last caller, each cumulative, until the request ends or is cut."""
        if self._cut is not None:
            # verl counts a request as admitted at its first output, which may be far away.
            yield self._ungiven(self._cut.result())
        self._cut = asyncio.get_running_loop().create_future()
        try:
            while True:
                self._next = self._next or asyncio.ensure_future(self._outputs.__anext__())
                await asyncio.wait({self._next, self._cut}, return_when=asyncio.FIRST_COMPLETED)
                if not self._next.done():
                    break
                output, self._next = self._next.result(), None
                yield self._ungiven(output)
                if output.finished:
                    return
        except (asyncio.CancelledError, GeneratorExit):
            await self.close()
            raise
        rest = self._ungiven(self._cut.result())
        given = rest.outputs[0].token_ids
        self._num_given += len(given)
        self._tokens += given
        yield rest

    async def close(self) -> None:
        """Stop reading for good, upon which vLLM aborts the request."""
        if self._next is not None:
            self._next.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._next
        await self._outputs.aclose()

    def _ungiven(self, output: Any) -> Any:
        """The output without the tokens that earlier callers have."""
        if not output.outputs:
            return output
        rest, sample = copy.copy(output), copy.copy(output.outputs[0])
        sample.token_ids = list(sample.token_ids[self._num_given :])
        if sample.logprobs is not None:
            sample.logprobs = sample.logprobs[self._num_given :]
        rest.outputs = [sample]
        return rest
