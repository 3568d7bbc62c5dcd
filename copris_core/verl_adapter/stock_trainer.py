"""verl's own trainer modes, only looked at: a row of metrics per step, nothing else.

What the bench compares with. Buffer, agent-loop workers, client, load balancer, loss and loop are
verl's, as released; see ``configs/strategy/verl_*.yaml``.
"""

import time
from contextvars import ContextVar
from typing import Any

import ray
import torch
import transfer_queue as tq
from omegaconf import DictConfig
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.debug import marked_timer
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient

from copris_core.staleness import staleness_metrics
from copris_core.verl_adapter.records import (
    RunRecord,
    first_token_lag,
    length_metrics,
    phase_seconds,
)
from copris_core.verl_adapter.worker import CPUReadyWorker

SEGMENTS = "segments"
"""Extra field of a row: (tokens, policy version) of each visit to an engine, in order."""

_VISITS: ContextVar[list[tuple[int, int]] | None] = ContextVar("visits", default=None)


class _OneVisit(LLMServerClient):
    """verl's client, which notes each visit to an engine."""

    async def generate(self, *given: Any, **named: Any) -> Any:
        output = await super().generate(*given, **named)
        visits = _VISITS.get()
        if visits is not None:
            visits.append((len(output.token_ids), output.extra_fields["global_steps"]))
        return output


class ObservedAsyncClient(FullyAsyncLLMServerClient, _OneVisit):
    """verl's asynchronous client; its visits to engines pass ``_OneVisit``."""

    async def generate(self, *given: Any, **named: Any) -> Any:
        """As verl's, with the policy versions of the response's tokens among its extra fields."""
        visits: list[tuple[int, int]] = []
        _VISITS.set(visits)  # each agent loop is its own task
        output = await super().generate(*given, **named)
        output.extra_fields[SEGMENTS] = visits
        return output


class ObservedTrainer(PPOTrainer):
    """Notes what a step came to."""

    def __init__(self, config: DictConfig) -> None:
        """Build verl's trainer."""
        super().__init__(config)
        self.record = RunRecord.of(config)
        self._begin_s = time.time()
        self._staleness: dict[str, float] = {}

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        self.record.phase("loading the policy")
        # On GPUs too: it meets the engine at the run's own socket, where the engine waits.
        for role in self.role_worker_mapping:
            self.role_worker_mapping[role] = ray.remote(CPUReadyWorker)

    def on_step_begin(self) -> None:
        """Note the time."""
        super().on_step_begin()
        self._begin_s = time.time()
        self.record.phase("training", step=self.global_steps)

    def prepare_step(self) -> dict[str, float]:
        """Dispatching counts as generation: the engines start on it at once."""
        with marked_timer("prepare", self.timing_raw):
            return super().prepare_step()

    def _compute_metrics(
        self,
        batch: KVBatchMeta,
        metrics: dict[str, Any],
        timing_raw: dict[str, float],
        global_steps: int,
        epoch: int,
    ) -> None:
        super()._compute_metrics(batch, metrics, timing_raw, global_steps, epoch)
        lengths = [tag["response_len"] for tag in batch.tags]
        row = {
            "time/step_begin_s": self._begin_s,
            "samples/trained": len(lengths),
            "tokens/trained": sum(lengths),
            **length_metrics(lengths, "trained"),
            **first_token_lag(batch, current_version=global_steps - 1),
            **self._staleness,
            **phase_seconds(timing_raw),
        }
        metrics.update(self.record.write(global_steps, row))


@register_trainer("verl_sync")
class ObservedSyncTrainer(ObservedTrainer, PPOTrainerSync):
    """``trainer_mode=sync``."""

    # verl tells its modes apart by these literals.
    trainer_mode = property(lambda self: "sync", lambda self, mode: None)


@register_trainer("verl_colocate_async")
class ObservedAsyncTrainer(ObservedTrainer, PPOTrainerColocateAsync):
    """``trainer_mode=colocate_async``."""

    trainer_mode = property(lambda self: "colocate_async", lambda self, mode: None)

    def get_llm_client(self) -> ObservedAsyncClient:
        """Verl's own, which also notes policy versions."""
        return self.llm_server_manager.get_client(client_cls=ObservedAsyncClient)

    def _balance_batch(self, batch: KVBatchMeta, metrics: dict[str, Any], **kwargs: Any) -> Any:
        rows = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["extra_fields"]
        )["extra_fields"]
        segments = [getattr(row, "data", row)[SEGMENTS] for row in rows]
        versions = [
            torch.cat([torch.full((tokens,), version) for tokens, version in row])
            for row in segments
        ]
        self._staleness = staleness_metrics(versions, self.global_steps - 1)
        return super()._balance_batch(batch, metrics, **kwargs)
