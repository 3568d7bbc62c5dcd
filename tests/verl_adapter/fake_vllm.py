"""As much of vLLM's ``AsyncLLM`` as keeping requests needs; tokens come when the test says so."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any


class FakeLLM:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.prompts: list[dict[str, Any]] = []
        self.output_processor = SimpleNamespace(request_states={})
        self.engine_core = SimpleNamespace(
            outputs_queue=asyncio.Queue(), pause_scheduler_async=self._pause_scheduler
        )
        self.errored = False
        self.is_paused = False
        self.tokenises = asyncio.Event()
        self.tokenises.set()

    @property
    def ids(self) -> list[str]:
        """Requests in the engine, the oldest first."""
        return [state.external_req_id for state in self.output_processor.request_states.values()]

    async def generate(
        self, *, prompt: dict[str, Any], sampling_params: Any, request_id: str
    ) -> AsyncIterator[Any]:
        self.prompts.append(prompt)
        await self.tokenises.wait()
        state = _State(request_id)
        states = self.output_processor.request_states
        states[f"{request_id}-internal"] = state
        try:
            while True:
                output = await state.queue.get()
                if isinstance(output, Exception):
                    raise output
                yield output
                if output.finished:
                    return
        except (asyncio.CancelledError, GeneratorExit):
            await self.abort(request_id)
            raise

    async def sample(self, *tokens: int, finish: bool = False) -> None:
        """Every request in the engine samples these; a first token or an end is sent at once."""
        for request_id in self.ids:
            self.step(request_id, *tokens, finish=finish)
        await turns()

    def step(self, request_id: str, *tokens: int, finish: bool = False) -> None:
        """One request samples these; nobody is given the time to take notice."""
        assert not self.is_paused
        name = f"{request_id}-internal"
        state = self.output_processor.request_states[name]
        is_first = not state.tokens
        state.tokens += tokens
        if finish:
            del self.output_processor.request_states[name]
        if is_first or finish:
            state.queue.put_nowait(state.output("length" if finish else None))

    def fail(self, request_id: str, error: Exception) -> None:
        """One request is answered with an error."""
        states = self.output_processor.request_states
        states.pop(f"{request_id}-internal").queue.put_nowait(error)

    async def abort(self, request_id: str) -> None:
        state = self.output_processor.request_states.pop(f"{request_id}-internal", None)
        if state is not None:
            self.calls.append(f"abort {request_id}")
            state.queue.put_nowait(state.output("abort"))

    async def pause_generation(self, *, mode: str, clear_cache: bool) -> None:
        await turns()  # for the step in flight
        self.calls.append(f"pause {mode} {clear_cache}")

    async def resume_generation(self) -> None:
        self.calls.append("resume")
        self.is_paused = False

    async def _pause_scheduler(self, *, mode: str, clear_cache: bool) -> None:
        await turns()  # for the step in flight
        self.calls.append(f"pause scheduler {mode} {clear_cache}")
        self.is_paused = True


class _State:
    def __init__(self, request_id: str) -> None:
        self.external_req_id = request_id
        self.tokens: list[int] = []
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.detokenizer = SimpleNamespace(num_output_tokens=lambda: len(self.tokens))

    def make_request_output(self, *, finish_reason: Any, **_: Any) -> Any:
        return self.output(str(finish_reason))

    def output(self, reason: str | None) -> Any:
        """Cumulative, as vLLM's; the token lists are its own and still grow."""
        logps = [{token: SimpleNamespace(logprob=-token / 10)} for token in self.tokens]
        sample = SimpleNamespace(token_ids=self.tokens, logprobs=logps, finish_reason=reason)
        return SimpleNamespace(outputs=[sample], finished=reason is not None, num_cached_tokens=0)


async def turns() -> None:
    """Let every coroutine that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)
