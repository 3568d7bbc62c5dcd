"""Rows go into the transfer queue by groups, when the last member of one is there.

verl's worker puts every response by itself, and two statuses of every prompt. A put takes four
round trips to the queue's controller and storage, a status two, however little it carries, and on
a small machine their time is taken from the engines. ``GroupRows`` takes the place of the name
``tq`` in verl's module (agent_loop_tq.py:110, 143, 148, 222), in the worker's own process alone.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import transfer_queue as tq
from verl.trainer.ppo.v1 import agent_loop_tq
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.row_names import response_of

logger = logging.getLogger(__name__)

MAX_PUTS = 3
"""Tries of one put: what it carries are whole groups of samples."""

RETRY_AFTER_S = 0.5
"""Pause before the next try."""

_Place: TypeAlias = tuple[str, str]
"""A partition, and a key in it."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """What is put under one key."""

    prompt: str
    """The prompt that it belongs to, or is."""
    fields: dict[str, Any] | None
    """Data of a row; None for a prompt, of which only the tag is new."""
    tag: dict[str, Any]
    """What the queue's controller tells of it."""


class GroupRows:
    """Rows of the groups of one worker, until they are in the queue.

    Whatever is due while a put is under way goes with the next one, of all groups together.
    """

    def __init__(self, *, silent: Collection[str] = ()) -> None:
        """Hold nothing; ``silent`` are partitions of which nobody reads the prompts' statuses."""
        self._silent = silent
        self._held: dict[_Place, dict[str, _Entry]] = {}  # by the prompt's place, then row
        self._due: dict[_Place, _Entry] = {}
        self._putting = asyncio.Lock()

    def bind(self) -> None:
        """From now on verl's worker in this process puts here, and leaves rows as dictionaries."""
        agent_loop_tq.tq = self
        agent_loop_tq.list_of_dict_to_tensordict = list

    # ---- what verl's worker calls ----

    async def async_kv_batch_put(
        self,
        *,
        keys: list[str],
        partition_id: str,
        fields: list[dict[str, Any]],
        tags: list[dict[str, Any]],
    ) -> None:
        """Hold the rows of a response; does not give way to other tasks."""
        for key, row, tag in zip(keys, fields, tags, strict=True):
            uid = response_of(key).uid
            group = self._held.setdefault((partition_id, uid), {})
            group[key] = _Entry(prompt=uid, fields=row, tag=tag)

    async def async_kv_put(self, *, key: str, partition_id: str, tag: dict[str, Any]) -> None:
        """The status of a prompt: a terminal one follows its rows.

        No buffer tells ``running`` from the ``pending`` before it (replay_buffer.py:220).
        """
        if partition_id in self._silent or tag["status"] == "running":
            return
        self._release((partition_id, key))
        self._due[partition_id, key] = _Entry(prompt=key, fields=None, tag=tag)
        await self._put_due()

    # ---- what our worker calls ----

    async def store(self, partition_id: str, uid: str) -> None:
        """Put the rows of a group; they are in the queue when this returns.

        Raises:
            Exception: whatever the queue raised at the last try; the rows stay due.
        """
        self._release((partition_id, uid))
        await self._put_due()

    async def discard(self, partition_id: str, uid: str) -> None:
        """Forget the rows of a group; none of them is put once this has returned."""
        async with self._putting:
            self._held.pop((partition_id, uid), None)
            for place in [
                (partition, key)
                for (partition, key), entry in self._due.items()
                if partition == partition_id and entry.prompt == uid
            ]:
                del self._due[place]

    async def flush(self) -> None:
        """Put all rows, those of incomplete groups too, and wait for every put under way."""
        for group in list(self._held):
            self._release(group)
        await self._put_due()

    def rescore(self, version: int, logps: Mapping[ResponseKey, Sequence[float]]) -> None:
        """Put the trainer's log-probs in the place of the engine's for tokens of ``version``."""
        for key, row in self._rows():
            if values := logps.get(response_of(key)):
                new = row["response_mask"].bool() & (row[VERSION_FIELD] == version)
                scored = torch.tensor(values[: int(new.sum())])  # the rest was cut off the row
                row["rollout_log_probs"][new] = scored

    # ---- inside ----

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and data of every row that is not in the queue."""
        waiting = [item for group in self._held.values() for item in group.items()]
        waiting += [(key, entry) for (_, key), entry in self._due.items()]
        return ((key, entry.fields) for key, entry in waiting if entry.fields is not None)

    def _release(self, group: _Place) -> None:
        rows = self._held.pop(group, {})
        self._due.update({(group[0], key): entry for key, entry in rows.items()})

    async def _put_due(self) -> None:
        """Put what is due, another task's too, when no other put is under way."""
        async with self._putting:
            for attempt in range(1, MAX_PUTS + 1):
                try:
                    await self._put_once()
                    return
                except Exception as error:
                    if attempt == MAX_PUTS:
                        raise
                    logger.warning("put, attempt %d of %d: %s", attempt, MAX_PUTS, error)
                await asyncio.sleep(RETRY_AFTER_S)

    async def _put_once(self) -> None:
        for partition_id, keys in _batches(self._due):
            entries = [self._due[partition_id, key] for key in keys]
            rows = [entry.fields for entry in entries if entry.fields is not None]
            await tq.async_kv_batch_put(
                keys=keys,
                partition_id=partition_id,
                fields=list_of_dict_to_tensordict(rows) if rows else None,
                tags=[entry.tag for entry in entries],
            )
            for key in keys:
                del self._due[partition_id, key]


def _batches(due: Mapping[_Place, _Entry]) -> list[tuple[str, list[str]]]:
    """Partition and keys of what goes in one put: rows that are alike; the statuses last."""
    alike: dict[tuple[bool, str, frozenset[Any]], list[str]] = {}
    for (partition_id, key), entry in due.items():
        kind = _kind(entry.fields or {})
        alike.setdefault((entry.fields is None, partition_id, kind), []).append(key)
    order = sorted(alike, key=lambda each: each[0])
    return [(each[1], alike[each]) for each in order]


def _kind(row: Mapping[str, Any]) -> frozenset[Any]:
    """What rows of one put must have in common: names, and all of a tensor but its length.

    The positions of rows with images, for one, have their length last, and do not stack.
    """
    return frozenset(
        (name, each.dtype, each.ndim, each.shape[1:]) if isinstance(each, torch.Tensor) else name
        for name, each in row.items()
    )
