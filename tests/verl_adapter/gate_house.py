"""One router, one scripted engine, one client, in one event loop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from omegaconf import OmegaConf
from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.client import SAMPLED_RESPONSE, GateClient
from copris_core.verl_adapter.router import Router
from tests.verl_adapter.scripted import Local, ScriptedEngine


class GateHouse:
    """The path of a response, without agent loops and without a trainer."""

    def __init__(
        self,
        *,
        concurrency: int,
        groups: int,
        size: int,
        tokens: int = 4,
        drop_lag: int | None = None,
        keeps_kv: bool = False,
        filter: dict[str, Any] | None = None,
        servers: dict[str, Any] | None = None,
    ) -> None:
        self.engine = ScriptedEngine(lambda request: tokens)
        servers = servers or {"server": self.engine}
        settings = {
            "strategy": "copris",
            "adaptive": False,
            "concurrency": concurrency,
            "groups_per_stage": groups,
            "group_size": size,
            "max_lag": None,
            "drop_lag": drop_lag,
            "keeps_kv": keeps_kv,
            "filter": filter,
        }
        handles = {name: Local(server) for name, server in servers.items()}
        self.router = Router(handles, settings)
        rollout = {"response_length": 8, "full_determinism": False, "name": "vllm"}
        config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}})
        self.client = GateClient(config, Local(self.router))

    def ask(
        self, uid: str, index: int, prompt: list[int] | None = None
    ) -> asyncio.Task[TokenOutput]:
        async def loop() -> TokenOutput:
            SAMPLED_RESPONSE.set(ResponseKey(uid, index))
            return await self.client.generate(
                "any", prompt_ids=prompt or [1, 2], sampling_params={"temperature": 1.0}
            )

        return asyncio.create_task(loop())

    async def cut_off(self, *, after_tokens: int) -> None:
        """Close the gate and abort everything that runs."""
        self.router._gate.close()
        await self.engine.abort(after_tokens=after_tokens)
        await self.router.drained()


def run(story: Callable[[], Awaitable[Any]]) -> None:
    """Play a story in an event loop of its own, with an end to it."""
    asyncio.run(asyncio.wait_for(story(), timeout=20))
