"""Ray's calling convention without Ray, and an engine that answers from a script."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from verl.workers.rollout.replica import TokenOutput


class Local:
    """An object whose methods are called as ``handle.method.remote(...)``, in this event loop."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        def remote(*args: Any, **kwargs: Any) -> asyncio.Future[Any]:
            # A task: as in Ray the call goes ahead whether it is awaited or not.
            return asyncio.ensure_future(getattr(self._target, name)(*args, **kwargs))

        return SimpleNamespace(remote=remote)


class ScriptedEngine:
    """Answers each request with ``num_tokens(request)`` tokens; ``abort`` cuts all that run off."""

    def __init__(self, num_tokens: Callable[[dict[str, Any]], int]) -> None:
        self.version = 0
        self.requests: list[dict[str, Any]] = []
        self.most_in_flight = 0
        self._num_tokens = num_tokens
        self._running: list[asyncio.Future[int | None]] = []

    async def generate(self, **request: Any) -> TokenOutput:
        self.requests.append(request)
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._running.append(answer)
        self.most_in_flight = max(self.most_in_flight, len(self._running))
        cut_after = await answer
        self._running.remove(answer)
        wanted = self._num_tokens(request)
        count = wanted if cut_after is None else min(cut_after, wanted - 1)
        return TokenOutput(
            token_ids=list(range(count)),
            log_probs=[-0.5 - self.version] * count,
            stop_reason="aborted" if cut_after is not None else "completed",
            num_preempted=0,
            extra_fields={"global_steps": self.version},
        )

    async def finish(self, count: int) -> None:
        """Let the ``count`` oldest requests end."""
        for answer in self._running[:count]:
            answer.set_result(None)
        await settled()

    async def abort(self, *, after_tokens: int) -> None:
        """Cut everything off after so many tokens."""
        for answer in list(self._running):
            answer.set_result(after_tokens)
        await settled()


async def settled() -> None:
    """Give every coroutine that can go on the turns it needs."""
    for _ in range(50):
        await asyncio.sleep(0)
