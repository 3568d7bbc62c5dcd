"""A step's response budget reaches what begins in it, and nothing that began before."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import _agent_loop_registry

from copris_core.rollout.reconcile import reconciled
from copris_core.verl_adapter import agent_loop
from copris_core.verl_adapter.agent_loop import (
    TRAINING_BUDGET,
    GateAgentLoopManager,
    GateWorkerLoop,
    LeanAgentLoopManager,
    LeanWorkerLoop,
    _Progress,
)
from tests.verl_adapter.gate_house import GateHouse, run
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl

TRAIN, VALIDATE = {"validate": False}, {"validate": True}
SINGLE = "single_turn_agent"

Sampling = Callable[[dict[str, Any]], Awaitable[Any]]
"""What an agent loop does with its sampling parameters."""


def _worker(kind: type, sampling: Sampling, *, client: Any = None, budget: int = 8) -> Any:
    """One without verl's own construction; what it returns is the budget to be judged by."""
    made = object.__new__(kind)
    made.config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm"}}})
    made.llm_client = client or SimpleNamespace(budget=lambda key: None, forget=lambda key: None)
    made._budget = budget
    made._groups = {"a": _Progress()}

    async def run(sampling_params: dict[str, Any], **_: Any) -> None:
        await sampling(sampling_params)

    async def judged(output: None, validate: bool, **_: Any) -> int | None:
        return TRAINING_BUDGET.get()

    made._build = lambda target: SimpleNamespace(run=run)
    made._agent_loop_postprocess = judged
    return made


def _begin(worker: Any, trajectory: dict[str, bool], index: int = 0) -> "asyncio.Task[int | None]":
    """As verl does: each response is a task of its own."""
    row = {"uid": "a", "session_id": index, "agent_name": SINGLE}
    return asyncio.create_task(worker._run_agent_loop({"temperature": 1.0}, trajectory, **row))


# ---- from the trainer to the engine ----


@pytest.mark.parametrize("kind", [LeanAgentLoopManager, GateAgentLoopManager])
def test_every_worker_is_told(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = [object.__new__(LeanWorkerLoop) for _ in range(3)]
    manager = object.__new__(kind)
    manager.agent_loop_workers = [
        SimpleNamespace(set_response_budget=SimpleNamespace(remote=worker.set_response_budget))
        for worker in workers
    ]
    monkeypatch.setattr(agent_loop.ray, "get", lambda calls: [asyncio.run(call) for call in calls])
    manager.set_response_budget(77)
    assert [worker._budget for worker in workers] == [77] * 3


@pytest.mark.parametrize("kind", [LeanWorkerLoop, GateWorkerLoop])
def test_a_training_response_is_sampled_and_judged_by_the_budget_a_validation_by_none(kind) -> None:
    async def story() -> None:
        asked: list[dict[str, Any]] = []

        async def sampling(params: dict[str, Any]) -> None:
            asked.append(params)

        worker = _worker(kind, sampling, budget=64)
        assert await _begin(worker, TRAIN) == 64
        assert await _begin(worker, VALIDATE) is None
        assert asked == [
            {"temperature": 1.0, "detokenize": False, "max_tokens": 64},
            {"temperature": 1.0, "detokenize": False},
        ]

    run(story)


def test_an_agent_loop_that_verl_must_build_gets_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stock(
        self: Any, sampling_params: dict[str, Any], trajectory: Any, **_: Any
    ) -> tuple[Any, int | None]:
        return sampling_params["max_tokens"], TRAINING_BUDGET.get()

    monkeypatch.setattr(agent_loop._StockWorker, "_run_agent_loop", stock)
    monkeypatch.setitem(_agent_loop_registry, SINGLE, {"_target_": "mine", "max_turns": 3})
    worker = _worker(LeanWorkerLoop, settled, budget=64)

    async def story() -> None:
        assert await _begin(worker, TRAIN) == (64, 64)

    run(story)


# ---- when it changes ----


def test_responses_side_by_side_are_each_judged_by_their_own_budget() -> None:
    async def story() -> None:
        asked: list[int | None] = []
        may_end = asyncio.Event()

        async def sampling(params: dict[str, Any]) -> None:
            asked.append(params.get("max_tokens"))
            await may_end.wait()

        worker = _worker(LeanWorkerLoop, sampling, budget=64)
        tasks = [_begin(worker, TRAIN)]
        await settled()
        await worker.set_response_budget(32)
        tasks += [_begin(worker, TRAIN), _begin(worker, VALIDATE)]
        await settled()
        await worker.set_response_budget(16)
        may_end.set()
        assert await asyncio.gather(*tasks) == [64, 32, None]
        assert asked == [64, 32, None]
        assert TRAINING_BUDGET.get() is None  # nothing leaks to who dispatched them

    run(story)


def _house_worker(house: GateHouse, *, budget: int, then: Callable[[Any], None]) -> Any:
    """A worker that samples through the gate; ``then`` is called with each answer."""

    async def sampling(params: dict[str, Any]) -> None:
        then(await house.client.generate("any", prompt_ids=[1, 2], sampling_params=params))

    return _worker(GateWorkerLoop, sampling, client=house.client, budget=budget)


def test_what_is_tried_again_after_an_error_keeps_the_budget_that_it_began_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_loop, "RETRY_AFTER_S", 0.0)

    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2)
        errors = [TimeoutError("the tool did not answer")]

        def fail_once(answer: Any) -> None:
            worker._budget = 4
            if errors:
                raise errors.pop()

        worker = _house_worker(house, budget=8, then=fail_once)
        await house.router.draw(["a"], [2])
        await house.router.open(0)
        first = _begin(worker, TRAIN)
        await settled()
        await house.engine.finish(1)
        assert await first == 8
        assert worker._groups["a"].retries == 1
        later = _begin(worker, TRAIN, index=1)
        await settled()
        await house.engine.finish(1)
        assert await later == 4
        assert [r["sampling_params"]["max_tokens"] for r in house.engine.requests] == [8, 4]

    run(story)


def test_what_began_before_a_restart_keeps_its_budget() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=2)
        worker = _house_worker(house, budget=8, then=lambda answer: None)
        await house.router.draw(["a"], [2])
        await house.router.open(0)
        abandoned = _begin(worker, TRAIN)
        await settled()
        await house.cut_off(after_tokens=3)
        await settled()
        store = reconciled(
            version=1, gate=await house.router.snapshot(), responses=house.client.unfinished()
        )
        abandoned.cancel()

        fresh = GateHouse(concurrency=2, groups=1, size=2)
        await fresh.router.restore(store.gate, list(store.responses))
        fresh.client.restore(store.responses)
        worker = _house_worker(fresh, budget=4, then=lambda answer: None)
        await fresh.router.open(1)
        tasks = [_begin(worker, TRAIN, index) for index in (0, 1)]
        await settled()
        asked = {len(r["prompt_ids"]): r["sampling_params"] for r in fresh.engine.requests}
        # 3 of 8 tokens are there; the other member begins now.
        assert [asked[5]["max_tokens"], asked[2]["max_tokens"]] == [8 - 3, 4]
        await fresh.engine.finish(2)
        assert await asyncio.gather(*tasks) == [8, 4]

    run(story)
