"""verl's agent-loop workers, telling the client for whom they sample and the gate what is done."""

from typing import Any

import numpy as np
import ray
import torch
from tensordict import TensorDict
from verl.trainer.ppo.v1 import AgentLoopManagerTQ, AgentLoopWorkerTQ

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.client import SAMPLED_RESPONSE
from copris_core.verl_adapter.fields import VERSION_FIELD

# AgentLoopWorkerTQ is a Ray actor class; the plain class behind it is what can be subclassed.
_StockWorker = AgentLoopWorkerTQ.__ray_metadata__.modified_class


class GateWorkerLoop(_StockWorker):
    """Runs any registered agent loop; needs no change in the loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments; the client must be a ``GateClient``."""
        super().__init__(*args, **kwargs)
        self._failed: set[str] = set()

    async def _run_prompt(
        self, prompt: dict[str, Any], sampling_params: dict[str, Any], trajectory: dict[str, Any],
        trace: bool = False,
    ) -> None:
        uid = prompt["uid"]
        await super()._run_prompt(prompt, sampling_params, trajectory, trace)
        if not trajectory["validate"]:
            failed = uid in self._failed
            self._failed.discard(uid)
            await self.llm_client.gate.complete.remote(uid, failed=failed)

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], **kwargs: Any
    ) -> Any:
        key = ResponseKey(kwargs["uid"], kwargs["session_id"])
        SAMPLED_RESPONSE.set(None if trajectory["validate"] else key)  # each loop is its own task
        try:
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        except Exception:
            self._failed.add(key.uid)
            raise
        finally:
            self.llm_client.forget(key)

    async def _agent_loop_postprocess(self, output: Any, validate: bool, **kwargs: Any) -> None:
        if not validate:
            key = ResponseKey(kwargs["uid"], kwargs["session_id"])
            kwargs[VERSION_FIELD] = _spread(self.llm_client.versions(key), output.response_mask)
        await super()._agent_loop_postprocess(output, validate, **kwargs)

    async def _compute_score(self, outputs: list[Any], kwargs: dict[str, Any]) -> None:
        row = {name: value for name, value in kwargs.items() if name != VERSION_FIELD}
        await super()._compute_score(outputs, kwargs=row)


GateAgentLoopWorker = ray.remote(GateWorkerLoop)
"""The same as a Ray actor class. The plain class keeps its name, so that Ray sends it by name."""


class GateAgentLoopManager(AgentLoopManagerTQ):
    """Deals prompts to the workers in turn, also when they are drawn one at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = GateAgentLoopWorker
        self._next_worker = 0

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Dispatch prompts without waiting for their responses."""
        workers = self.agent_loop_workers
        chunks = prompts.chunk(len(workers))
        turns = [workers[(self._next_worker + i) % len(workers)] for i in range(len(chunks))]
        self._next_worker = (self._next_worker + len(chunks)) % len(workers)
        ray.get([w.generate_sequences.remote(c) for w, c in zip(turns, chunks, strict=True)])


def _spread(versions: list[int], response_mask: list[int]) -> torch.Tensor:
    """Lay the sampled tokens' versions over the response; a tool's tokens take the one before.

    Tool tokens are masked out of every loss, so their value only has to be some version.
    """
    sampled = np.asarray(response_mask, dtype=bool)
    position = np.maximum(np.cumsum(sampled) - 1, 0)
    return torch.tensor(np.asarray(versions, dtype=np.int64)[position])
