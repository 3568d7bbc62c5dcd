"""A response whose loop fails is tried again; one that was stored before a restart is not run."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter import agent_loop
from copris_core.verl_adapter.agent_loop import (
    GateWorkerLoop,
    LeanWorkerLoop,
    StoredGroup,
    _Progress,
)
from copris_core.verl_adapter.router import GroupDroppedError

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
