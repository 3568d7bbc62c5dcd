"""verl's agent-loop workers: lighter per response, and, for the gate, telling it what is done.

Any agent loop registered with verl runs here unchanged.
"""

import asyncio
import logging
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

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
from copris_core.rollout.partials import PartialResponse
from copris_core.verl_adapter.client import SAMPLED_RESPONSE
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.group_rows import GroupRows
from copris_core.verl_adapter.reward import compute_score
from copris_core.verl_adapter.router import GroupDroppedError
from copris_core.verl_adapter.shaping import score_of, shaping_of

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Tries of one response before its group is given up: errors of tools and rewards often pass."""

RETRY_AFTER_S = 0.5
"""Pause before the next try, so that a service that restarts is not met three times at once."""

TRAIN: Final = "train"
"""The partition of the queue that verl's worker puts training rows in."""

TRAINING_BUDGET: ContextVar[int | None] = ContextVar("training_budget", default=None)
"""Most tokens of the training response that the current task samples; None for validation."""

OUR_REWARD = f"pkg://{compute_score.__module__}"

# AgentLoopWorkerTQ is a Ray actor class; the plain class behind it is what can be subclassed.
_StockWorker = AgentLoopWorkerTQ.__ray_metadata__.modified_class


@dataclass(frozen=True, kw_only=True)
class StoredGroup:
    """What of a group that is not complete lies in the transfer queue."""

    uid: str
    """The prompt."""
    lengths: dict[int, int]
    """Response tokens of each stored member by index."""
    scores: dict[int, float] = field(default_factory=dict)
    """What the verifier gave it; empty when nobody asks."""


@dataclass(slots=True, kw_only=True)
class _Progress:
    """How far a group is."""

    stored: dict[int, int] = field(default_factory=dict)
    """Response tokens by index of each member that is stored, or held until all are there."""
    scores: dict[int, float] = field(default_factory=dict)
    """What the verifier gave each of these, before any shaping."""
    retries: int = 0
    """Members tried again after an error."""
    error: str | None = None
    """Why one of them was given up."""


class LeanWorkerLoop(_StockWorker):
    """verl's worker without four costs that it pays for every response.

    Given to the baseline as well, so that a comparison is one of methods. Measured on 2 cores at 40
    short responses a second, of the worker's time: building the agent loop through Hydra 27%, the
    round trip to a reward worker 19%. Detokenising in the engine is never read by verl. Rows
    are put by groups, see ``group_rows.py``.
    """

    silent: ClassVar[tuple[str, ...]] = ()
    """Partitions in which nobody reads the status of a prompt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(*args, **kwargs)
        self._rows = GroupRows(silent=self.silent)
        self._rows.bind()
        self._shaping = shaping_of(self.config, [self.tokenizer.eos_token_id])
        self._budget: int = self.config.actor_rollout_ref.rollout.response_length

    async def set_response_budget(self, tokens: int) -> None:
        """Most tokens of a training response that begins from now on."""
        self._budget = tokens

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], **kwargs: Any
    ) -> Any:
        described = _agent_loop_registry[kwargs["agent_name"]]
        budget = None if trajectory["validate"] else self._budget_of(kwargs)
        TRAINING_BUDGET.set(budget)  # each loop is its own task
        if budget is not None:
            sampling_params = {"max_tokens": budget, **sampling_params}
        if self.config.actor_rollout_ref.rollout.name == "vllm":
            sampling_params = {"detokenize": False, **sampling_params}
        if set(described) - {"name"} != {"_target_"} or kwargs.get("trace"):
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        kwargs = {k: v for k, v in kwargs.items() if k not in ("agent_name", "trace")}
        output = await self._build(described["_target_"]).run(sampling_params, **kwargs)
        return await self._agent_loop_postprocess(output, trajectory["validate"], **kwargs)

    def _budget_of(self, row: dict[str, Any]) -> int:
        return self._budget

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
        reward, told = self._shaping.reward(result, final.response_ids, TRAINING_BUDGET.get())
        final.reward_score = reward
        final.extra_fields["reward_extra_info"] = told
        return None


class GateWorkerLoop(LeanWorkerLoop):
    """Tells the client for whom it samples, and the gate when a group is stored."""

    silent = (TRAIN,)  # the gate is told instead

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments; the client must be a ``GateClient``."""
        super().__init__(*args, **kwargs)
        self._groups: dict[str, _Progress] = {}

    async def restore(self, responses: list[PartialResponse], stored: list[StoredGroup]) -> None:
        """Before these prompts are dispatched again: what was sampled, and what is stored."""
        self.llm_client.restore(responses)
        for group in stored:
            self._groups[group.uid] = _Progress(
                stored=dict(group.lengths), scores=dict(group.scores)
            )

    async def unfinished(self) -> tuple[list[PartialResponse], int]:
        """Every response of this worker that has begun and is not stored; answers taken so far.

        All others are in the queue when this returns, those of incomplete groups too.
        """
        # Before the flush: a response that is held while it lasts is among these.
        begun = self.llm_client.unfinished(), self.llm_client.num_absorbed
        await self._rows.flush()
        return begun

    async def rescore(self, version: int, logps: dict[ResponseKey, list[float]]) -> None:
        """Put the trainer's log-probs in the place of the engine's."""
        self.llm_client.rescore(version, logps)
        self._rows.rescore(version, logps)

    async def _run_prompt(
        self,
        prompt: dict[str, Any],
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
        trace: bool = False,
    ) -> None:
        uid = prompt["uid"]
        if trajectory["validate"]:
            return await super()._run_prompt(prompt, sampling_params, trajectory, trace)
        progress = self._groups.setdefault(uid, _Progress())
        await super()._run_prompt(prompt, sampling_params, trajectory, trace)
        await self._store_rows(uid, progress)
        del self._groups[uid]
        await self.llm_client.gate.complete.remote(
            uid,
            lengths=progress.stored,
            retries=progress.retries,
            error=progress.error,
            scores=list(progress.scores.values()),
        )
        return None

    async def _store_rows(self, uid: str, progress: _Progress) -> None:
        """Put the rows of a group, or, if it failed, see to it that none is put any more."""
        if progress.error is None:
            try:
                return await self._rows.store(TRAIN, uid)
            except Exception as error:
                logger.exception("the rows of group %s could not be stored", uid)
                progress.error = _told(error)
        return await self._rows.discard(TRAIN, uid)

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], **kwargs: Any
    ) -> Any:
        if trajectory["validate"]:
            SAMPLED_RESPONSE.set(None)
            return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
        key = ResponseKey(kwargs["uid"], kwargs["session_id"])
        progress = self._groups[key.uid]
        if key.index in progress.stored:  # by the process before this one
            self.llm_client.forget(key)
            return None
        SAMPLED_RESPONSE.set(key)  # each loop is its own task
        try:
            return await self._tried_again(key, progress, sampling_params, trajectory, kwargs)
        except Exception as error:
            progress.error = _told(error)
            raise
        finally:
            self.llm_client.forget(key)

    async def _tried_again(
        self,
        key: ResponseKey,
        progress: "_Progress",
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run the loop; after an error once more, without sampling again what was sampled."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return await super()._run_agent_loop(sampling_params, trajectory, **kwargs)
            except Exception as error:
                if attempt == MAX_ATTEMPTS or is_final(error):
                    raise
                logger.warning("%s, attempt %d of %d: %s", key, attempt, MAX_ATTEMPTS, error)
                progress.retries += 1
                self.llm_client.rewind(key)
                await asyncio.sleep(RETRY_AFTER_S)
        raise AssertionError("unreachable")

    async def _agent_loop_postprocess(self, output: Any, validate: bool, **kwargs: Any) -> None:
        if validate:
            return await super()._agent_loop_postprocess(output, validate, **kwargs)
        key = ResponseKey(kwargs["uid"], kwargs["session_id"])
        kwargs[VERSION_FIELD] = _spread(self.llm_client.versions(key), output.response_mask)
        # An earlier turn's may have been scored by the trainer since the loop was told them.
        logps = _spread(self.llm_client.logps(key), output.response_mask)
        output.response_logprobs = logps.tolist()
        await super()._agent_loop_postprocess(output, validate, **kwargs)
        progress = self._groups[key.uid]
        progress.stored[key.index] = len(output.response_ids)
        progress.scores[key.index] = score_of(output)
        return None

    def _budget_of(self, row: dict[str, Any]) -> int:
        """What it began with, if it began before a restart."""
        return self.llm_client.budget(ResponseKey(row["uid"], row["session_id"])) or self._budget

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

    def set_response_budget(self, tokens: int) -> None:
        """Most tokens of training responses that begin from now on; engines stay as they are."""
        ray.get([w.set_response_budget.remote(tokens) for w in self.agent_loop_workers])


class GateAgentLoopManager(LeanAgentLoopManager):
    """The same with workers that pass the gate."""

    worker_class = GateAgentLoopWorker

    def unfinished(self) -> tuple[list[PartialResponse], int]:
        """Every response that has begun and is not stored, and how many answers were taken."""
        parts = ray.get([worker.unfinished.remote() for worker in self.agent_loop_workers])
        responses = [response for part, _ in parts for response in part]
        return responses, sum(num_absorbed for _, num_absorbed in parts)

    def rescore(self, version: int, logps: dict[ResponseKey, list[float]]) -> None:
        """Put the trainer's log-probs of ``version`` in the place of the engine's."""
        ray.get([w.rescore.remote(version, logps) for w in self.agent_loop_workers])

    def resume(
        self, prompts: TensorDict, responses: list[PartialResponse], stored: list[StoredGroup]
    ) -> None:
        """Dispatch prompts whose responses had begun before a restart."""
        for prompt in prompts.chunk(len(prompts)):
            uid = next(iter(prompt["uid"]))
            worker = self.agent_loop_workers[self._next_worker]
            ray.get(
                worker.restore.remote(
                    [each for each in responses if each.key.uid == uid],
                    [each for each in stored if each.uid == uid],
                )
            )
            self._next_worker = (self._next_worker + 1) % len(self.agent_loop_workers)
            ray.get(worker.generate_sequences.remote(prompt))


def _spread(values: list[Any], response_mask: list[int]) -> torch.Tensor:
    """Lay the sampled tokens' values over the response; a tool's tokens take the one before.

    Tool tokens are masked out of every loss, so their value only has to be some value.
    """
    sampled = np.asarray(response_mask, dtype=bool)
    position = np.maximum(np.cumsum(sampled) - 1, 0)
    return torch.tensor(np.asarray(values)[position])


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def is_final(error: Exception) -> bool:
    """Whether trying again is pointless: the group was given up, or an actor is dead."""
    cause = getattr(error, "cause", None) or error
    return isinstance(cause, (GroupDroppedError, ray.exceptions.RayActorError)) or (
        type(cause).__name__ == "EngineDeadError"
    )
