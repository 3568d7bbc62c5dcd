"""The client that agent loops sample with: every training call passes the gate and survives aborts.

To the agent loop an interruption is invisible: ``generate`` returns the whole response, joined over
the policy versions that sampled it.
"""

from contextvars import ContextVar
from typing import Any

import ray
from verl.utils import normalize_token_ids
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.order import ResponseKey
from copris_core.rollout.trajectory import Segment, Status, Trajectory
from copris_core.verl_adapter.router import ABORTED

SAMPLED_RESPONSE: ContextVar[ResponseKey | None] = ContextVar("sampled_response", default=None)
"""The training response on whose behalf the current task samples; None for validation."""


class GateClient(LLMServerClient):
    """verl's client with admission, resumption and per-token policy versions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(*args, **kwargs)
        self._calls: dict[ResponseKey, list[Trajectory]] = {}

    @property
    def gate(self) -> ray.actor.ActorHandle:
        """The router actor."""
        return self._load_balancer

    async def generate(
        self,
        request_id: str,
        *,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        **inputs: Any,
    ) -> TokenOutput:
        """Sample one whole response (one turn of it in a multi-turn loop).

        Raises:
            ValueError: the engine's output does not fit the request.
        """
        key = SAMPLED_RESPONSE.get()
        if key is None:
            return await super().generate(
                request_id, prompt_ids=prompt_ids, sampling_params=sampling_params, **inputs
            )
        trajectory = Trajectory(
            prompt=tuple(normalize_token_ids(prompt_ids)), max_tokens=self._budget(sampling_params)
        )
        self._calls.setdefault(key, []).append(trajectory)
        while trajectory.status is not Status.FINISHED:
            output = await self._sample(key, trajectory, sampling_params, inputs)
        return _joined(trajectory, output)

    def versions(self, key: ResponseKey) -> list[int]:
        """[T] policy version of every token sampled for a response, over all its turns."""
        return [version for call in self._calls.get(key, []) for version in call.versions()]

    def forget(self, key: ResponseKey) -> None:
        """The response is stored elsewhere or given up."""
        self._calls.pop(key, None)

    async def _sample(
        self,
        key: ResponseKey,
        trajectory: Trajectory,
        sampling_params: dict[str, Any],
        inputs: dict[str, Any],
    ) -> TokenOutput:
        """One visit to an engine, from admission until it answers."""
        prefix = trajectory.num_tokens
        request = {
            "request_id": self._vllm_request_id(f"{key.uid}_{key.index}_{prefix}"),
            "prompt_ids": trajectory.start(),
            "sampling_params": {**sampling_params, "max_tokens": trajectory.remaining_tokens},
            **_engine_inputs(inputs),
        }
        output: TokenOutput = await self.gate.sample.remote(key.uid, key.index, request, prefix)
        trajectory.absorb(_segment(output), finished=output.stop_reason not in ABORTED)
        return output

    def _budget(self, sampling_params: dict[str, Any]) -> int:
        limit = sampling_params.get("max_tokens", sampling_params.get("max_new_tokens"))
        return int(limit or self.config.actor_rollout_ref.rollout.response_length)


def _engine_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """The optional inputs of the request that vLLM's server knows and that are set."""
    known = ("image_data", "video_data", "audio_data", "mm_processor_kwargs", "priority")
    return {name: inputs[name] for name in known if inputs.get(name)}


def _segment(output: TokenOutput) -> Segment:
    return Segment.sampled(
        output.token_ids, output.log_probs or [], output.extra_fields["global_steps"]
    )


def _joined(trajectory: Trajectory, last: TokenOutput) -> TokenOutput:
    """What verl expects of a client: the response as if it had been sampled in one piece."""
    versions = trajectory.versions() or [last.extra_fields["global_steps"]]
    return TokenOutput(
        token_ids=trajectory.tokens(),
        log_probs=trajectory.logps(),
        stop_reason=last.stop_reason,
        num_preempted=last.num_preempted,
        extra_fields={
            **last.extra_fields,
            "global_steps": versions[-1],
            "min_global_steps": versions[0],
            "max_global_steps": versions[-1],
        },
    )
