"""Log-probs of the trainer for the tokens of a stage, at the stage's end (``correction=stage``).

Between abort and update the trainer holds the weights that sampled the stage's tokens. Each
response that got tokens, finished or not, is forwarded once, and only its new tokens keep what
comes out; so every token is scored once, by the weights that sampled it (CoPRIS, arXiv 2511.05589).
What is scored of an unfinished response takes the engine's place in its segments; of a finished row
the whole is in ``STAGE_FIELD``, and ``rollout_log_probs`` keeps what the engine said of the tokens
of its last stage, so that the two can still be compared.

Text only. Shapes: T tokens of a response, tools' included.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import transfer_queue as tq
from omegaconf import DictConfig
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.utils.seqlen_balancing import get_seqlen_balanced_partitions

from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse
from copris_core.verl_adapter.fields import STAGE_FIELD, VERSION_FIELD
from copris_core.verl_adapter.row_names import response_of
from copris_core.verl_adapter.scoring import fetch, num_ranks, score, store

PARTITION: Final = "train"
"""Where verl keeps the finished rows."""
SCRATCH: Final = "stage"
"""Where the rows of one scoring live while it runs."""
SCORED_TAG: Final = "stage_scored"
"""Tag of a finished row that has all of its log-probs."""


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """One row to forward."""

    prompt: Sequence[int]
    """Token ids before the response, at least one."""
    response: Sequence[int]
    """[T] token ids so far, at least one."""
    new: Sequence[int]
    """Positions in ``response`` of the tokens sampled in this stage, ascending."""

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt) + len(self.response)


@dataclass(frozen=True, kw_only=True)
class StageScores:
    """What the end of a stage brought."""

    logps: dict[ResponseKey, list[float]]
    """Of an unfinished response: log-probs of its tokens of the stage, over its calls, in order."""
    metrics: dict[str, float]
    """What it cost, by metric name."""


def rows_of(response: PartialResponse, version: int) -> list[StageRow]:
    """The rows to forward for the tokens that ``version`` sampled of a response, in token order.

    A call whose prompt goes on where the one before ended (a turn after a tool's answer) shares its
    row, so that no prefix is forwarded twice; one that rewrote the history gets its own.
    """
    rows: list[StageRow] = []
    context: list[int] = []
    for call in response.calls:
        prompt, tokens = list(call.prompt), call.tokens()
        new = [i for i, sampled_by in enumerate(call.versions()) if sampled_by == version]
        if rows and prompt[: len(context)] == context:
            start = rows[-1].prompt
            before = len(prompt) - len(start)
            new = [*rows[-1].new, *(before + i for i in new)]
            rows[-1] = StageRow(prompt=start, response=[*prompt[len(start) :], *tokens], new=new)
        else:
            rows.append(StageRow(prompt=prompt, response=tokens, new=new))
        context = [*prompt, *tokens]
    return [row for row in rows if len(row.new)]


class StageScorer:
    """Scores a stage's tokens; holds nothing between stages."""

    def __init__(self, config: DictConfig) -> None:
        """Read how verl will cut the batch; the config is verl's."""
        rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
        self._temperature = rollout.temperature
        self._rows_per_rank = (
            1 if actor.use_dynamic_bsz else rollout.log_prob_micro_batch_size_per_gpu
        )

    def end_stage(
        self, workers: Any, unfinished: Sequence[PartialResponse], *, version: int
    ) -> StageScores:
        """Score what ``version`` sampled; complete the finished rows in the queue.

        Args:
            workers: verl's actor worker group, with the weights of ``version``.
            unfinished: responses that are not in the queue yet.
            version: policy version of the stage that ends.
        """
        finished = _Finished.read(version)
        # One that was stored since the clients were asked is scored as a row.
        waiting = [each for each in unfinished if each.key not in finished.keys]
        partial = [(each.key, row) for each in waiting for row in rows_of(each, version)]
        todo = [row for row in finished.rows if len(row.new)] + [row for _, row in partial]
        scored = iter(self._score(workers, todo) if todo else [])
        finished.complete(scored)
        logps: dict[ResponseKey, list[float]] = {}
        for (key, _), values in zip(partial, scored, strict=True):
            logps.setdefault(key, []).extend(values.tolist())
        return StageScores(
            logps=logps,
            metrics={
                "correction/stage_rows_forwarded": len(todo),
                "correction/stage_tokens_forwarded": sum(row.num_tokens for row in todo),
                "correction/stage_tokens_scored": sum(len(row.new) for row in todo),
                "correction/stage_tokens_missed": finished.num_missed,
            },
        )

    def _score(self, workers: Any, todo: Sequence[StageRow]) -> list[Tensor]:
        """Log-probs of the new tokens of each row."""
        ranks = num_ranks(workers)
        order = _balanced([row.num_tokens for row in todo], ranks, self._rows_per_rank)
        batch = _scratch([None if i is None else todo[i] for i in order])
        try:
            rows = score(workers, batch, temperature=self._temperature)
        finally:
            tq.kv_clear(keys=batch.keys, partition_id=SCRATCH)
        found = {i: row for i, row in zip(order, rows, strict=True) if i is not None}
        return [found[i][list(row.new)] for i, row in enumerate(todo)]


class _Finished:
    """The rows that were stored since the last stage was scored."""

    def __init__(self, batch: KVBatchMeta, rows: list[StageRow], logps: list[Tensor]) -> None:
        self._batch, self.rows, self._logps = batch, rows, logps
        self.keys = {response_of(key) for key in batch.keys}
        self.num_missed = 0

    @classmethod
    def read(cls, version: int) -> "_Finished":
        """Find them in the queue."""
        tags = (tq.kv_list(partition_id=PARTITION) or {}).get(PARTITION, {})
        stored = {
            key: tag
            for key, tag in tags.items()
            if tag.get("status") == "success" and not tag.get("is_prompt") and SCORED_TAG not in tag
        }
        batch = KVBatchMeta(partition_id=PARTITION, keys=list(stored), tags=list(stored.values()))
        found = cls(batch, [], [])
        if stored:
            found._read(version)
        return found

    def _read(self, version: int) -> None:
        names = ["prompts", "responses", "response_mask", VERSION_FIELD, "rollout_log_probs"]
        for prompt, response, mask, versions, engine in zip(
            *fetch(self._batch, names), strict=True
        ):
            sampled = mask.bool()
            new = (sampled & (versions == version)).nonzero().flatten().tolist()
            self.rows.append(StageRow(prompt=prompt, response=response, new=new))
            self._logps.append(engine.clone())
            if not new and bool(sampled.any()):
                # Stored after the end of its last stage, whose weights are gone: the engine's
                # log-probs stand in for that stage.
                self.num_missed += int((sampled & (versions == versions[sampled].max())).sum())

    def complete(self, scored: Iterator[Tensor]) -> None:
        """Write all log-probs of each row; it is not looked at again."""
        if not self.rows:
            return
        for row, logp in zip(self.rows, self._logps, strict=True):
            if len(row.new):
                logp[list(row.new)] = next(scored).to(logp.dtype)
        store(self._batch, {STAGE_FIELD: self._logps}, **{SCORED_TAG: True})


def _balanced(lengths: Sequence[int], ranks: int, multiple: int) -> list[int | None]:
    """Indices in the order in which verl cuts them to ranks; None is a row of padding.

    As many tokens for each rank, as many rows, a multiple of the micro-batch; within a rank from
    short to long, so that a micro-batch has little padding.
    """
    padding = -len(lengths) % (ranks * multiple)
    padded = [*lengths, *[2] * padding]
    parts = get_seqlen_balanced_partitions(padded, k_partitions=ranks, equal_size=True)
    order = [i for part in parts for i in sorted(part, key=lambda i: padded[i])]
    return [i if i < len(lengths) else None for i in order]


def _scratch(rows: Sequence[StageRow | None]) -> KVBatchMeta:
    """Store what a forward pass needs of each row; a row of padding is two tokens of the first."""
    token = next(int(row.prompt[0]) for row in rows if row is not None)
    prompts = [torch.as_tensor([token] if row is None else row.prompt) for row in rows]
    responses = [torch.as_tensor([token] if row is None else row.response) for row in rows]
    inputs = [torch.cat(pair) for pair in zip(prompts, responses, strict=True)]
    masks = [torch.ones_like(response) for response in responses]
    name = uuid.uuid4().hex
    keys = [f"{name}_{i}" for i in range(len(rows))]
    batch = KVBatchMeta(partition_id=SCRATCH, keys=keys, tags=[{} for _ in keys])
    return store(
        batch,
        {
            "prompts": prompts,
            "responses": responses,
            "input_ids": inputs,
            "position_ids": [torch.arange(len(tokens)) for tokens in inputs],
            "response_mask": masks,
            "loss_mask": masks,
        },
    )
