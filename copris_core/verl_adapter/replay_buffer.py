"""What is sampled for a step (trainer.v1.sampler.custom_sampler)."""

import time
from collections.abc import Callable
from typing import Any

import ray
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync

from copris_core.filtering import FilterBook, Judgement
from copris_core.verl_adapter.news import News
from copris_core.verl_adapter.row_names import response_of
from copris_core.verl_adapter.shaping import scores_of_rows

POLL_INTERVAL_S = 0.02
"""verl polls every 2 s, which would round every generation phase up to whole polls."""

NEWS_TIMEOUT_S = 10.0
"""How often a silent stage is checked for dead actors."""


class PromptPollReplayBuffer(ReplayBuffer):
    """verl's synchronous buffer with a prompt poll."""

    def __init__(self, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(poll_interval=POLL_INTERVAL_S, **kwargs)


class FilteringReplayBuffer(PromptPollReplayBuffer):
    """The same with a filter whose bound holds.

    verl's own filter draws without end when no group has spread (it ignores max_num_gen_batches),
    draws two prompts for each group filtered, and throws away what it drew too much.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Take verl's own arguments."""
        super().__init__(**kwargs)
        self.book: FilterBook | None = None
        """Judges complete groups; None: all of them are trained."""
        self.tell_filtered: Callable[[dict[str, int]], None] = lambda lengths: None
        """Told the length of each row of a group before it is forgotten."""

    def sample(
        self, global_steps: int, partition_id: str, batch_size: int
    ) -> tuple[KVBatchMeta, dict[str, float]]:
        """Return the rows of ``batch_size`` complete groups.

        Raises:
            RuntimeError: more groups failed than a batch has, or nearly all were filtered.
        """
        if partition_id == "val" or self.book is None:
            return super().sample(global_steps, partition_id, batch_size)
        self.book.begin_stage()
        kept: list[str] = []
        num_failed, told_s = 0, time.time()
        while len(kept) < batch_size:
            self._sync_metadata_from_transfer_queue()
            ended = self.finished_keys[partition_id] | self.failure_keys[partition_id]
            for uid in sorted(ended.difference(kept)):
                scores = self._scores_of(partition_id, uid)
                num_failed += not scores
                if num_failed > batch_size:
                    raise RuntimeError(f"{num_failed} groups failed in one batch; see the logs")
                if self._is_trained(scores):
                    kept.append(uid)
                else:
                    self._replace(partition_id, uid)
            if len(kept) < batch_size:
                told_s = self._wait_for_next_poll(partition_id, told_s)
        rows = dict(self.partitions[partition_id])
        return self._materialize_batch(partition_id, kept, rows), {}

    def _is_trained(self, scores: list[float]) -> bool:
        """Ask the book; a group of which nothing is left is none of its business."""
        if not scores:
            return False
        judgement = self.book.judge(scores)
        if judgement is Judgement.STOP:
            raise RuntimeError(self.book.complaint)
        return judgement is not Judgement.FILTER

    def _scores_of(self, partition_id: str, uid: str) -> list[float]:
        """Of each response, by the first row of each."""
        first = {response_of(row): row for row in self._rows_of(partition_id, uid)[::-1]}
        return scores_of_rows(partition_id, list(first.values()))

    def _rows_of(self, partition_id: str, uid: str) -> list[str]:
        return [key for key in self.partitions[partition_id] if key.startswith(f"{uid}_")]

    def _replace(self, partition_id: str, uid: str) -> None:
        """Forget a group, draw another prompt."""
        tags = self.partitions[partition_id]
        rows = self._rows_of(partition_id, uid)
        self.tell_filtered({key: tags[key]["response_len"] for key in rows})
        self._clear_groups(partition_id, {uid})
        self.refill_fn(1)


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
            RuntimeError: more groups failed than the stage needs, or nearly all were filtered.
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
            self._evict(partition_id, {*news.failed, *news.useless})
            if news.surrender:
                raise RuntimeError(news.surrender)
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
