"""Log-probs of rows of the transfer queue under the trainer's present weights.

Shapes: each tensor holds one row's T response tokens.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
import transfer_queue as tq
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta

ACTOR_MESH: Final = "actor"
"""verl's name for how the actor's ranks share a batch."""


def score(workers: Any, batch: KVBatchMeta, *, temperature: float) -> list[Tensor]:
    """One forward pass over whole rows; [T] log-probs of each row's response.

    Args:
        workers: verl's actor worker group.
        batch: rows with what verl's ``compute_log_prob`` reads; a multiple of the ranks.
        temperature: of the sampling; logits are divided by it.
    """
    batch.extra_info.update(calculate_entropy=False, compute_loss=False, temperature=temperature)
    workers.compute_log_prob(batch)
    logps, responses = fetch(batch, ["log_probs", "responses"])
    return [_of_response(logp, len(tokens)) for logp, tokens in zip(logps, responses, strict=True)]


def fetch(batch: KVBatchMeta, names: Sequence[str]) -> list[list[Tensor]]:
    """Fields of a batch, each as one tensor per row."""
    data = tq.kv_batch_get(
        keys=batch.keys, partition_id=batch.partition_id, select_fields=list(names)
    )
    return [list(data[name].unbind()) for name in names]


def store(batch: KVBatchMeta, fields: dict[str, Sequence[Tensor]], **tags: Any) -> KVBatchMeta:
    """Put fields beside those that the rows have; the batch to go on with knows of them."""
    nested = {
        name: torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)
        for name, rows in fields.items()
    }
    stored = tq.kv_batch_put(
        keys=batch.keys,
        partition_id=batch.partition_id,
        fields=TensorDict(nested, batch_size=len(batch.keys)),
        tags=[{**tag, **tags} for tag in batch.tags] if tags else None,
    )
    stored.extra_info = batch.extra_info
    return stored


def num_ranks(workers: Any) -> int:
    """Into how many equal parts verl cuts a batch of the actor."""
    known = workers._dispatch_info
    if ACTOR_MESH not in known:
        known[ACTOR_MESH] = workers._query_dispatch_info(ACTOR_MESH)
    return int(max(known[ACTOR_MESH])) + 1


def _of_response(logp: Tensor, length: int) -> Tensor:
    """The log-probs of a row run over its prompt too; each entry predicts the token after it."""
    return logp[len(logp) - length - 1 : len(logp) - 1]
