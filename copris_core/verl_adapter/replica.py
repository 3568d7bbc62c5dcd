"""verl's vLLM server, which also says how it is, and can keep requests over a weight update.

Importing this file imports vLLM; ``replicas.py`` registers it without doing so.
"""

from typing import Any

import ray
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica
from vllm.v1.engine import FinishReason

from copris_core.verl_adapter.engine_stats import EngineStats, facts_without_stats
from copris_core.verl_adapter.keep import KEPT_TOKENS, VISIT, KeepingEngine, Visit
from copris_core.verl_adapter.parking import SEGMENTS, EngineCall, ParkingEngine


class GateServer(vLLMHttpServer):
    """A replica's server; its engine core is a process of its own."""

    async def run_server(self, args: Any) -> None:
        """Start the engine as verl does.

        Raises:
            ValueError: requests cannot be kept in an engine like this one.
        """
        keeps_kv = (self.config.custom or {}).get("resume_kv") == "keep"
        if keeps_kv and self.model_config.processor is not None:
            # vLLM: resetting the encoder cache with requests in progress desyncs its caches.
            raise ValueError(
                "strategy.resume_kv=keep is for text: use strategy.resume_kv=recompute"
            )
        await super().run_server(args)
        self._stats = EngineStats()
        self._has_stats = self._stats.attach(self.engine)
        self._parking = ParkingEngine(self.engine)
        self._keeps_kv = keeps_kv
        if keeps_kv:
            self.engine = KeepingEngine(self.engine, abort=FinishReason.ABORT)

    async def generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        request_id: str,
        *inputs: Any,
        response: str | None = None,
        stage: int | None = None,
        **named_inputs: Any,
    ) -> TokenOutput:
        """As verl's, on behalf of a response.

        Args:
            prompt_ids: tokens to continue.
            sampling_params: as verl's.
            request_id: unique.
            inputs: the rest of verl's.
            response: the training response that is sampled, by a name that it keeps over its
                interruptions; None for validation, which ends what is kept.
            stage: the policy version under which it was admitted; None for validation.
            named_inputs: the rest of verl's.
        """
        if not await self._parking.may_enter(stage):
            return self._refused()
        if response is None or self._keeps_kv:
            return await self._kept(
                response, prompt_ids, sampling_params, request_id, *inputs, **named_inputs
            )
        call = EngineCall(response=response, request_id=request_id)
        self._parking.enter(call)
        try:
            output = await super().generate(
                prompt_ids, sampling_params, request_id, *inputs, **named_inputs
            )
        finally:
            self._parking.leave(call)
        call.cut(len(output.token_ids), output.extra_fields["global_steps"])
        output.extra_fields[SEGMENTS] = call.segments
        return output

    async def _kept(self, response: str | None, *inputs: Any, **named_inputs: Any) -> TokenOutput:
        visit = None if response is None else Visit(response=response)
        VISIT.set(visit)  # each call of a Ray actor is its own task
        output = await super().generate(*inputs, **named_inputs)
        if visit is not None:
            output.extra_fields[KEPT_TOKENS] = visit.kept_tokens
        return output

    def _refused(self) -> TokenOutput:
        return TokenOutput(
            token_ids=[],
            log_probs=[],
            stop_reason="aborted",
            extra_fields={"global_steps": self.global_steps},
        )

    async def stop(self, stage: int) -> dict[str, int]:
        """Freeze every training request where it is; see ``ParkingEngine.stop``."""
        if self.node_rank != 0:
            return {}
        was_stopped = self._parking.is_stopped  # nobody was let in since: nothing is lost again
        staying = await self._parking.stop(stage, self.global_steps)
        if not was_stopped:
            self._stats.forgive(sum(tokens > 0 for tokens in staying.values()))
        return staying

    async def start_again(self, leaving: list[str]) -> None:
        """Sample on, without those in ``leaving``."""
        if self.node_rank == 0:
            await self._parking.start(leaving)

    async def check_alive(self) -> None:
        """Look whether the engine core lives; costs no message to it.

        Raises:
            RuntimeError: its process ended, or reading its outputs failed.
        """
        if self.node_rank == 0 and self.engine.errored:
            raise RuntimeError(f"the vLLM engine core of replica {self.replica_rank} is dead")

    async def engine_facts(self) -> dict[str, float | None]:
        """Load, memory and counts since the start; None for what the engine does not count."""
        return self._stats.facts() if self._has_stats else facts_without_stats(self.engine)


class GateReplica(vLLMReplica):
    """verl's replica with our server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(GateServer)  # by name: the plain class keeps its module
