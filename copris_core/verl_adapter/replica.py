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
        if keeps_kv:
            self.engine = KeepingEngine(self.engine, abort=FinishReason.ABORT)

    async def generate(
        self,
        prompt_ids: list[int],
        sampling_params: dict[str, Any],
        request_id: str,
        *inputs: Any,
        response: str | None = None,
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
            named_inputs: the rest of verl's.
        """
        visit = None if response is None else Visit(response=response)
        VISIT.set(visit)  # each call of a Ray actor is its own task
        output = await super().generate(
            prompt_ids, sampling_params, request_id, *inputs, **named_inputs
        )
        if visit is not None:
            output.extra_fields[KEPT_TOKENS] = visit.kept_tokens
        return output

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
