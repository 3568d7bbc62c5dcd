"""A response whose loop fails is tried again; one that was stored before a restart is not run.

A group is told to the gate when its rows are in the queue, and none is if it failed.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch
from verl.trainer.ppo.v1 import agent_loop_tq

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter import agent_loop, group_rows
from copris_core.verl_adapter.agent_loop import (
    GateWorkerLoop,
    LeanWorkerLoop,
    StoredGroup,
    _Progress,
)
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.group_rows import MAX_PUTS, GroupRows
from copris_core.verl_adapter.router import GroupDroppedError
from tests.verl_adapter.gate_house import run
from tests.verl_adapter.local_queue import LocalQueue
from tests.verl_adapter.scripted import Local, settled

pytestmark = pytest.mark.verl

A1 = ResponseKey("a", 1)
ROW = {"uid": "a", "session_id": 1, "agent_name": "single_turn_agent"}


class _Client:
    """Notes what the worker asks of it."""

    def __init__(self) -> None:
        self.rewound: list[ResponseKey] = []
        self.forgotten: list[ResponseKey] = []
        self.restored: list[Any] = []

    def rewind(self, key: ResponseKey) -> None:
        self.rewound.append(key)

    def forget(self, key: ResponseKey) -> None:
        self.forgotten.append(key)

    def restore(self, responses: list[Any]) -> None:
        self.restored += responses


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> GateWorkerLoop:
    """A worker without verl's own construction, which needs a model."""
    monkeypatch.setattr(agent_loop, "RETRY_AFTER_S", 0.0)
    made = object.__new__(GateWorkerLoop)
    made._groups = {"a": _Progress()}
    made.llm_client = _Client()
    return made


def _fails(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[int]:
    """Verl's loop raises these, one a try, then succeeds; returns the tries so far."""
    waiting, tries = list(errors), []

    async def run(self: Any, *_: Any, **__: Any) -> str:
        tries.append(len(tries))
        if waiting:
            raise waiting.pop(0)
        return "done"

    monkeypatch.setattr(LeanWorkerLoop, "_run_agent_loop", run)
    return tries


def _run(worker: GateWorkerLoop) -> Any:
    return asyncio.run(worker._run_agent_loop({}, {"validate": False}, **ROW))


def test_a_passing_error_costs_a_retry_and_samples_nothing_again(worker, monkeypatch) -> None:
    tries = _fails(monkeypatch, TimeoutError("no answer"), ValueError("NaN log-prob"))
    assert _run(worker) == "done"
    assert (len(tries), worker._groups["a"].retries, worker._groups["a"].error) == (3, 2, None)
    assert worker.llm_client.rewound == [A1, A1]
    assert worker.llm_client.forgotten == [A1]


def test_an_error_that_stays_gives_the_group_up_and_says_why(worker, monkeypatch) -> None:
    tries = _fails(monkeypatch, *[TimeoutError("no answer")] * 5)
    with pytest.raises(TimeoutError):
        _run(worker)
    assert (len(tries), worker._groups["a"].retries) == (3, 2)
    assert worker._groups["a"].error == "TimeoutError: no answer"
    assert worker.llm_client.forgotten == [A1]


@pytest.mark.parametrize(
    "error",
    [
        GroupDroppedError("too old"),
        ray.exceptions.ActorDiedError(),
        type("EngineDeadError", (Exception,), {})("the engine core is dead"),
    ],
)
def test_nothing_is_tried_again_where_it_is_pointless(worker, monkeypatch, error) -> None:
    tries = _fails(monkeypatch, error)
    with pytest.raises(type(error)):
        _run(worker)
    assert len(tries) == 1


def test_what_was_stored_before_a_restart_is_not_run_again(worker, monkeypatch) -> None:
    tries = _fails(monkeypatch)
    stored = [StoredGroup(uid="a", lengths={1: 17})]
    asyncio.run(worker.restore([SimpleNamespace(key=A1)], stored))
    assert _run(worker) is None
    assert tries == []
    assert worker._groups["a"].stored == {1: 17}
    assert worker.llm_client.forgotten == [A1]


# ---- what is held ----


class _Gate:
    """Notes how many rows were in the queue when a group was told."""

    def __init__(self, queue: LocalQueue) -> None:
        self._queue = queue
        self.told: list[tuple[str, str | None, list[list[str]]]] = []

    async def complete(
        self, uid: str, *, lengths: Any, retries: int, error: str | None, scores: list[float]
    ) -> None:
        self.told.append((uid, error, list(self._queue.puts)))


class _Holding(GateWorkerLoop):
    """Members are held at once, and fail if they are told to."""

    def __init__(self, queue: LocalQueue, *, failing: tuple[int, ...] = ()) -> None:
        self.gate = _Gate(queue)
        self._failing = failing
        self._groups: dict[str, _Progress] = {}
        self._rows = GroupRows(silent=self.silent)
        self.begun: list[Any] = []
        self.llm_client = SimpleNamespace(
            gate=Local(self.gate), num_absorbed=7, unfinished=lambda: list(self.begun)
        )
        rollout = SimpleNamespace(n=2)
        self.config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))

    async def hold(self, uid: str, index: int, **row: torch.Tensor) -> None:
        row = {"responses": torch.arange(3), **row}
        await self._rows.async_kv_batch_put(
            keys=[f"{uid}_{index}_0"], fields=[row], tags=[{}], partition_id="train"
        )

    async def _run_agent_loop(self, *_: Any, uid: str, session_id: int, **__: Any) -> None:
        if session_id in self._failing:
            self._groups[uid].error = "out of memory"
            raise RuntimeError("out of memory")
        await self.hold(uid, session_id)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> LocalQueue:
    monkeypatch.setattr(group_rows, "RETRY_AFTER_S", 0.0)
    return LocalQueue(monkeypatch)


def _run_group(worker: _Holding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_loop_tq, "tq", worker._rows)
    run(lambda: worker._run_prompt({"uid": "a"}, {}, {"validate": False}))


def test_the_gate_is_told_of_a_group_whose_rows_are_in_the_queue(queue, monkeypatch) -> None:
    worker = _Holding(queue)
    _run_group(worker, monkeypatch)
    assert worker.gate.told == [("a", None, [["a_0_0", "a_1_0"]])]
    assert worker._groups == {}


def test_of_a_group_that_failed_no_row_is_put(queue, monkeypatch) -> None:
    worker = _Holding(queue, failing=(1,))
    _run_group(worker, monkeypatch)
    run(worker._rows.flush)
    assert worker.gate.told == [("a", "out of memory", [])]
    assert queue.puts == []


def test_a_group_whose_rows_cannot_be_put_has_failed(queue, monkeypatch) -> None:
    worker = _Holding(queue)
    queue.errors = [TimeoutError("no answer")] * MAX_PUTS
    _run_group(worker, monkeypatch)
    run(worker._rows.flush)
    assert worker.gate.told == [("a", "TimeoutError: no answer", [])]
    assert queue.puts == []


def test_every_response_is_stored_or_among_the_unfinished(queue) -> None:
    async def story() -> None:
        worker = _Holding(queue)
        await worker.hold("a", 0)
        worker.begun = ["a:1"]
        queue.lets_through.clear()
        asking = asyncio.create_task(worker.unfinished())
        await settled()
        await worker.hold("a", 1)  # it ends while the first is put
        worker.begun = []
        queue.lets_through.set()
        assert await asking == (["a:1"], 7)
        assert queue.puts == [["a_0_0"]]

    run(story)


def test_what_is_held_is_rescored_with_what_the_client_has(queue) -> None:
    async def story() -> None:
        worker, seen = _Holding(queue), []
        worker.llm_client.rescore = lambda version, logps: seen.append((version, logps))
        row = {
            "response_mask": torch.ones(2),
            VERSION_FIELD: torch.zeros(2),
            "rollout_log_probs": torch.zeros(2),
        }
        await worker.hold("a", 1, **row)
        await worker.rescore(0, {A1: [-1.0, -2.0]})
        await worker._rows.flush()
        assert queue.rows["train"]["a_1_0"]["rollout_log_probs"].tolist() == [-1.0, -2.0]
        assert seen == [(0, {A1: [-1.0, -2.0]})]

    run(story)
