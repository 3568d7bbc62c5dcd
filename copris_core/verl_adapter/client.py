"""The client that agent loops sample with: every training call passes the gate and survives aborts.

To the agent loop an interruption is invisible: ``generate`` returns the whole response, joined over
the policy versions that sampled it. What was sampled before an error or a restart is played back.
"""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import ray
from verl.utils import normalize_token_ids
from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse
from copris_core.rollout.trajectory import Segment, Status, Trajectory
from copris_core.verl_adapter.parking import SEGMENTS
from copris_core.verl_adapter.router import ABORTED, GroupDroppedError

SAMPLED_RESPONSE: ContextVar[ResponseKey | None] = ContextVar("sampled_response", default=None)
"""The training response on whose behalf the current task samples; None for validation."""


class GateClient(LLMServerClient):
    """verl's client with admission, resumption, playback and per-token policy versions."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(*args, **kwargs)
        self._calls: dict[ResponseKey, list[Trajectory]] = {}
        self._recorded: dict[ResponseKey, list[Trajectory]] = {}
        self.num_absorbed = 0
        """Answers of the router taken so far; equal to those it gave when none is under way."""

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
        prompt = array("i", normalize_token_ids(prompt_ids))
        trajectory = self._next_recorded(key, prompt) or Trajectory(
            prompt=prompt, max_tokens=self._budget(sampling_params)
        )
        self._calls.setdefault(key, []).append(trajectory)
        extra_fields: dict[str, Any] = {}
        while trajectory.status is not Status.FINISHED:
            output = await self._sample(key, trajectory, sampling_params, inputs)
            extra_fields = output.extra_fields
        return _joined(trajectory, extra_fields)

    def versions(self, key: ResponseKey) -> list[int]:
        """[T] policy version of every token sampled for a response, over all its turns."""
        return [version for call in self._calls.get(key, []) for version in call.versions()]

    def logps(self, key: ResponseKey) -> list[float]:
        """[T] behaviour log-prob of every token sampled for a response, over all its turns."""
        return [logp for call in self._calls.get(key, []) for logp in call.logps()]

    def budget(self, key: ResponseKey) -> int | None:
        """Most tokens that a response began with, if it has begun."""
        calls = (*self._calls.get(key, []), *self._recorded.get(key, []))
        return calls[0].max_tokens if calls else None

    def forget(self, key: ResponseKey) -> None:
        """The response is stored elsewhere or given up."""
        self._calls.pop(key, None)
        self._recorded.pop(key, None)

    # ---- what survives an error or a restart ----

    def rewind(self, key: ResponseKey) -> None:
        """The response starts over: what was sampled is played back, and goes on from there."""
        calls = [call.at_rest() for call in self._calls.pop(key, [])]
        self._recorded[key] = calls + self._recorded.pop(key, [])

    def restore(self, responses: Iterable[PartialResponse]) -> None:
        """Play these responses back when their agent loops ask."""
        for response in responses:
            self._recorded[response.key] = list(response.calls)

    def unfinished(self) -> list[PartialResponse]:
        """Every response that has begun and is not stored, as it stands."""
        keys = {**self._calls, **self._recorded}
        calls = {
            key: [
                *(call.at_rest() for call in self._calls.get(key, [])),
                *self._recorded.get(key, []),
            ]
            for key in keys
        }
        return [PartialResponse(key=key, calls=tuple(each)) for key, each in calls.items() if each]

    def rescore(self, version: int, logps: Mapping[ResponseKey, Sequence[float]]) -> None:
        """Put the trainer's log-probs in the place of the engine's for tokens of ``version``."""
        for key, values in logps.items():
            rest = list(values)
            for call in (*self._calls.get(key, []), *self._recorded.get(key, [])):
                count = call.versions().count(version)
                call.rescore(version, rest[:count])
                rest = rest[count:]

    # ---- inside ----

    def _next_recorded(self, key: ResponseKey, prompt: "array[int]") -> Trajectory | None:
        """The recorded call that this one repeats; a tool that answered otherwise ends playback."""
        recorded = self._recorded.get(key)
        if not recorded:
            return None
        if recorded[0].prompt != prompt:
            del self._recorded[key]
            return None
        call = recorded.pop(0)
        if not recorded:
            del self._recorded[key]
        return call

    async def _sample(
        self,
        key: ResponseKey,
        trajectory: Trajectory,
        sampling_params: dict[str, Any],
        inputs: dict[str, Any],
    ) -> TokenOutput:
        """One visit to an engine, from admission until it answers."""
        prefix = trajectory.num_tokens
        had = sum(call.num_tokens for call in self._calls[key])
        request = {
            "request_id": self._vllm_request_id(f"{key.uid}_{key.index}_{prefix}"),
            "prompt_ids": trajectory.start(),
            "sampling_params": {**sampling_params, "max_tokens": trajectory.remaining_tokens},
            **_engine_inputs(inputs),
        }
        try:
            output: TokenOutput = await self.gate.sample.remote(
                key.uid, key.index, request, prefix=prefix, had=had
            )
        except Exception as error:
            self.num_absorbed += not isinstance(error, GroupDroppedError)
            raise
        self.num_absorbed += 1
        aborted = output.stop_reason in ABORTED
        # Aborted at its very last token it is as complete as any response of full length.
        reason = "completed" if aborted else str(output.stop_reason)
        *earlier, last = _segments(output)
        for segment in earlier:  # it stayed in its engine while the weights changed
            trajectory.absorb(segment, finished=False)
            trajectory.start()
        trajectory.absorb(last, finished=not aborted, stop_reason=reason)
        return output

    def _budget(self, sampling_params: dict[str, Any]) -> int:
        limit = sampling_params.get("max_tokens", sampling_params.get("max_new_tokens"))
        return int(limit or self.config.actor_rollout_ref.rollout.response_length)


def _engine_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """The optional inputs of the request that vLLM's server knows and that are set."""
    known = ("image_data", "video_data", "audio_data", "mm_processor_kwargs", "priority")
    return {name: inputs[name] for name in known if inputs.get(name)}


def _segments(output: TokenOutput) -> list[Segment]:
    """The answer, cut where the weights changed; at least one segment, which may be empty."""
    version = output.extra_fields["global_steps"]
    lengths = output.extra_fields.pop(SEGMENTS, None) or [(len(output.token_ids), version)]
    segments, at = [], 0
    for length, each in lengths:
        stretch = slice(at, at + length)
        logps = (output.log_probs or [])[stretch]
        segments.append(Segment.sampled(output.token_ids[stretch], logps, each))
        at += length
    return segments


def _joined(trajectory: Trajectory, extra_fields: dict[str, Any]) -> TokenOutput:
    """What verl expects of a client: the response as if it had been sampled in one piece."""
    versions = trajectory.versions() or [extra_fields.get("global_steps", 0)]
    return TokenOutput(
        token_ids=trajectory.tokens(),
        log_probs=trajectory.logps(),
        stop_reason=trajectory.stop_reason,
        extra_fields={
            **extra_fields,
            "global_steps": versions[-1],
            "min_global_steps": versions[0],
            "max_global_steps": versions[-1],
        },
    )
