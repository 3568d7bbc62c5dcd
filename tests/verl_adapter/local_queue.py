"""A transfer queue in a dictionary, and actor workers whose log-probs can be told by hand."""

import asyncio
from typing import Any

import pytest
import torch
import transfer_queue as tq
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta


class LocalQueue:
    """The calls of ``transfer_queue`` that we make; a row is whatever was put under its key."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: dict[str, dict[str, dict[str, Any]]] = {}
        self.tags: dict[str, dict[str, dict[str, Any]]] = {}
        self.puts: list[list[str]] = []
        """Keys of each asynchronous put that has come back, in order."""
        self.errors: list[Exception] = []
        """What the next asynchronous puts raise."""
        self.lets_through = asyncio.Event()
        self.lets_through.set()
        for name in ("kv_batch_put", "kv_batch_get", "kv_list", "kv_clear"):
            monkeypatch.setattr(tq, name, getattr(self, name))
        for name in ("async_kv_batch_put", "async_kv_put"):
            monkeypatch.setattr(tq, name, getattr(self, name))

    def add(self, key: str, *, partition: str = "train", **fields: list[float]) -> None:
        """Put one row as the agent loop does."""
        self.rows.setdefault(partition, {})[key] = {n: torch.tensor(x) for n, x in fields.items()}
        self.tags.setdefault(partition, {})[key] = {"status": "success", "response_len": 9}

    def batch(self, *keys: str, partition: str = "train") -> KVBatchMeta:
        tags = [self.tags[partition][key] for key in keys]
        return KVBatchMeta(partition_id=partition, keys=list(keys), tags=tags)

    def kv_batch_put(
        self,
        keys: list[str],
        partition_id: str,
        fields: TensorDict | None = None,
        tags: list[dict[str, Any]] | None = None,
    ) -> KVBatchMeta:
        columns = {} if fields is None else {name: _values(fields[name]) for name in fields.keys()}  # noqa: SIM118
        assert all(len(column) == len(keys) for column in columns.values())
        for i, key in enumerate(keys):
            row = self.rows.setdefault(partition_id, {}).setdefault(key, {})
            row.update({name: column[i] for name, column in columns.items()})
            known = self.tags.setdefault(partition_id, {})
            known[key] = {**known.get(key, {}), **(tags[i] if tags else {})}
        names = set.intersection(*(set(self.rows[partition_id][key]) for key in keys))
        batch = self.batch(*keys, partition=partition_id)
        batch.fields = sorted(names)
        return batch

    async def async_kv_batch_put(self, **put: Any) -> None:
        await self.lets_through.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.kv_batch_put(**put)
        self.puts.append(put["keys"])

    async def async_kv_put(self, key: str, partition_id: str, tag: dict[str, Any]) -> None:
        await self.async_kv_batch_put(keys=[key], partition_id=partition_id, tags=[tag])

    def kv_batch_get(
        self, keys: list[str], partition_id: str, select_fields: list[str] | None = None
    ) -> TensorDict:
        rows = [self.rows[partition_id][key] for key in keys]
        select_fields = list(rows[0]) if select_fields is None else select_fields
        columns = {name: _column([row[name] for row in rows]) for name in select_fields}
        return TensorDict(columns, batch_size=len(keys))

    def kv_list(self, partition_id: str | None = None) -> dict[str, dict[str, Any]]:
        return {
            name: dict(tags) for name, tags in self.tags.items() if partition_id in (None, name)
        }

    def kv_clear(self, keys: list[str], partition_id: str) -> None:
        for key in keys:
            del self.rows[partition_id][key], self.tags[partition_id][key]


def _column(values: list[Any]) -> Any:
    """As the queue gives it out: nested if it is of tensors, else a stack of objects."""
    if isinstance(values[0], torch.Tensor):
        return torch.nested.as_nested_tensor(values, layout=torch.jagged)
    return NonTensorStack(*values)


def _values(column: Any) -> list[Any]:
    """One value for each row of a column of a TensorDict."""
    return list(column.unbind() if isinstance(column, torch.Tensor) else column)


class ToldWorkers:
    """An actor whose log-prob of a token is minus its id, less a tenth of the policy version."""

    def __init__(self, queue: LocalQueue, *, ranks: int = 1) -> None:
        self._queue = queue
        self._ranks = ranks
        self._dispatch_info: dict[str, list[int]] = {}
        self.version = 0
        self.forwarded: list[list[list[int]]] = []
        self.fails = False

    def _query_dispatch_info(self, mesh: str) -> list[int]:
        assert mesh == "actor"
        return list(range(self._ranks))

    def logp(self, token: int, version: int) -> float:
        return -token - version / 10

    def compute_log_prob(self, batch: KVBatchMeta) -> KVBatchMeta:
        assert len(batch.keys) % self._ranks == 0
        assert batch.extra_info["compute_loss"] is False
        assert batch.extra_info["temperature"] == 0.7
        if self.fails:
            raise RuntimeError("out of memory")
        rows = [self._queue.rows[batch.partition_id][key] for key in batch.keys]
        self.forwarded.append([row["input_ids"].tolist() for row in rows])
        for row in rows:
            next_tokens = [*row["input_ids"].tolist()[1:], 0]
            row["log_probs"] = torch.tensor([self.logp(x, self.version) for x in next_tokens])
        return batch
