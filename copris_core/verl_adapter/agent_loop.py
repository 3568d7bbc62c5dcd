"""verl's agent-loop workers: lighter per response, and, for the gate, telling it what is done.

Any agent loop registered with verl runs here unchanged.
"""

import asyncio
from typing import Any

import numpy as np
import ray
import torch
from tensordict import TensorDict
from verl.experimental.agent_loop.agent_loop import (
    DictConfigWrap,
    ToolListWrap,
    _agent_loop_registry,
)
from verl.trainer.ppo.v1 import AgentLoopManagerTQ, AgentLoopWorkerTQ
from verl.utils.import_utils import load_class_from_fqn

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.client import SAMPLED_RESPONSE
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.reward import compute_score

OUR_REWARD = f"pkg://{compute_score.__module__}"

# AgentLoopWorkerTQ is a Ray actor class; the plain class behind it is what can be subclassed.
_StockWorker = AgentLoopWorkerTQ.__ray_metadata__.modified_class


class LeanWorkerLoop(_StockWorker):
    """verl's worker without three costs that it pays for every response.

    Given to the baseline as well, so that a comparison is one of methods. Measured on 2 cores at 40
    short responses a second, of the worker's time: building the agent loop through Hydra 27%, the
    round trip to a reward worker 19%. Detokenising in the engine is never read by verl.
    """

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], **kwargs: Any
    ) -> Any:
        described = _agent_loop_registry[kwargs["agent_name"]]
        if self.config.actor_rollout_ref.rollout.name == "vllm":
            sampling_params = {"detokenize": False, **sampling_params}
        if set(described) != {"_target_"} or kwargs.get("trace"):
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        kwargs = {k: v for k, v in kwargs.items() if k not in ("agent_name", "trace")}
        output = await self._build(described["_target_"]).run(sampling_params, **kwargs)
        return await self._agent_loop_postprocess(output, trajectory["validate"], **kwargs)

    def _build(self, target: str) -> Any:
        """What hydra.utils.instantiate makes of a registered class (agent_loop.py:683)."""
        return load_class_from_fqn(target, "agent loop")(
            trainer_config=DictConfigWrap(config=self.config),
            server_manager=self.llm_client,
            tokenizer=self.tokenizer,
            processor=self.processor,
            hf_model_type=self.hf_model_type,
            dataset_cls=self.dataset_cls,
            data_config=DictConfigWrap(self.config.data),
            tools=ToolListWrap(self.tools),
        )

    async def _compute_score(self, outputs: list[Any], kwargs: dict[str, Any]) -> None:
        """Score with our own verifiers in this process; anything else goes to verl's workers."""
        reward, final = self.config.reward, outputs[-1]
        ours = reward.custom_reward_function.path == OUR_REWARD
        if final.reward_score is not None or not ours or reward.reward_manager.name != "naive":
            return await super()._compute_score(outputs, kwargs)
        text = self.tokenizer.decode(final.response_ids, skip_special_tokens=True)
        truth = kwargs["reward_model"]["ground_truth"]
        result = await asyncio.to_thread(compute_score, kwargs["data_source"], text, truth)
        final.reward_score = result["score"]
        final.extra_fields["reward_extra_info"] = result
        return None


class GateWorkerLoop(LeanWorkerLoop):
    """Tells the client for whom it samples, and the gate when a group is stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments; the client must be a ``GateClient``."""
        super().__init__(*args, **kwargs)
        self._failed: set[str] = set()

    async def _run_prompt(
        self,
        prompt: dict[str, Any],
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
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


# The plain classes keep their names, so that Ray sends them by name.
LeanAgentLoopWorker = ray.remote(LeanWorkerLoop)
GateAgentLoopWorker = ray.remote(GateWorkerLoop)


class LeanAgentLoopManager(AgentLoopManagerTQ):
    """Deals prompts to the workers in turn, also when they are drawn one at a time."""

    worker_class = LeanAgentLoopWorker

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = self.worker_class
        self._next_worker = 0

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Dispatch prompts without waiting for their responses."""
        workers = self.agent_loop_workers
        chunks = prompts.chunk(len(workers))
        turns = [workers[(self._next_worker + i) % len(workers)] for i in range(len(chunks))]
        self._next_worker = (self._next_worker + len(chunks)) % len(workers)
        ray.get([w.generate_sequences.remote(c) for w, c in zip(turns, chunks, strict=True)])


class GateAgentLoopManager(LeanAgentLoopManager):
    """The same with workers that pass the gate."""

    worker_class = GateAgentLoopWorker


def _spread(versions: list[int], response_mask: list[int]) -> torch.Tensor:
    """Lay the sampled tokens' versions over the response; a tool's tokens take the one before.

    Tool tokens are masked out of every loss, so their value only has to be some version.
    """
    sampled = np.asarray(response_mask, dtype=bool)
    position = np.maximum(np.cumsum(sampled) - 1, 0)
    return torch.tensor(np.asarray(versions, dtype=np.int64)[position])
