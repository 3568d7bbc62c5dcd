"""What is sampled for a step (trainer.v1.sampler.custom_sampler)."""

from collections.abc import Callable
from typing import Any

import ray
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from copris_core.verl_adapter.router import News

POLL_INTERVAL_S = 0.02
"""verl polls every 2 s, which would round every generation phase up to whole polls."""

NEWS_TIMEOUT_S = 10.0
"""How often a silent stage is checked for dead actors."""


class PromptPollReplayBuffer(ReplayBuffer):
    """verl's synchronous buffer with a prompt poll."""

    def __init__(self, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(poll_interval=POLL_INTERVAL_S, **kwargs)


class PromptPollReplayBufferAsync(ReplayBufferAsync):
    """verl's asynchronous buffer with a prompt poll."""

    def __init__(self, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(poll_interval=POLL_INTERVAL_S, **kwargs)


class GateReplayBuffer(ReplayBufferAsync):
    """Waits for the gate's B-th complete group, drawing prompts meanwhile, without polling."""

    def __init__(self, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(poll_interval=POLL_INTERVAL_S, **kwargs)
        self.gate: ray.actor.ActorHandle | None = None
        self.stop: Callable[[], None] = lambda: None
        """Ends the stage in the engines; called at once when it is over, before rows are read."""

    def sample(
        self, global_steps: int, partition_id: str, batch_size: int
    ) -> tuple[KVBatchMeta, dict[str, float]]:
        """Return the rows of ``batch_size`` complete groups, the earliest drawn first.

        Raises:
            RuntimeError: more groups failed than the stage needs.
        """
        if partition_id == "val":
            return super().sample(global_steps, partition_id, batch_size)
        self._run_stage(partition_id, batch_size)
        self.stop()
        uids = ray.get(self.gate.take.remote(batch_size))
        self._sync_metadata_from_transfer_queue()
        batch = self._materialize_batch(partition_id, uids, self.partitions[partition_id])
        return batch, {}

    def _run_stage(self, partition_id: str, batch_size: int) -> None:
        num_failed = 0
        while True:
            news = self._next_news()
            self._evict(partition_id, {*news.failed, *news.dropped})
            num_failed += len(news.failed)
            if num_failed > batch_size:
                raise RuntimeError(
                    f"{num_failed} groups failed in one stage, the last one with {news.reason}"
                )
            if news.stage_is_over:
                return
            if news.prompts_wanted:
                self.refill_fn(news.prompts_wanted)

    def _next_news(self) -> News:
        while True:
            news = ray.get(self.gate.news.remote(NEWS_TIMEOUT_S))
            if news is not None:
                return news

    def _evict(self, partition_id: str, uids: set[str]) -> None:
        if uids:
            self._sync_metadata_from_transfer_queue()
            self._clear_groups(partition_id, uids)
