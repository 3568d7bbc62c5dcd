"""What was sampled is never sampled again: after an error, after a restart, after a drop."""

import asyncio
from typing import Any

import pytest
from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.events import Event
from copris_core.rollout.gate_state import Place
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialStore
from copris_core.rollout.reconcile import reconciled
from copris_core.rollout.trajectory import Status
from copris_core.verl_adapter.router import GroupDroppedError
from tests.verl_adapter.gate_house import GateHouse, run
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl

A0 = ResponseKey("a", 0)


async def _cut_off_after_three_tokens(size: int = 1) -> GateHouse:
    """Group a runs and is aborted with three tokens each; its members wait to go on."""
    house = GateHouse(concurrency=size, groups=1, size=size)
    await house.router.draw(["a"], [size])
    await house.router.open(0)
    for index in range(size):
        house.ask("a", index)
    await settled()
    await house.cut_off(after_tokens=3)
    await settled()
    return house


async def _store_of(house: GateHouse, version: int = 1) -> PartialStore:
    assert await house.router.num_answers() == house.client.num_absorbed
    return reconciled(
        version=version, gate=await house.router.snapshot(), responses=house.client.unfinished()
    )


def test_after_a_restart_a_partial_goes_on_from_its_tokens() -> None:
    async def story() -> None:
        store = await _store_of(await _cut_off_after_three_tokens())
        assert store.gate.growing[0].members[0].place is Place.PAUSED
        fresh = GateHouse(concurrency=1, groups=1, size=1)
        fresh.engine.version = 1
        await fresh.router.restore(store.gate, list(store.responses))
        fresh.client.restore(store.responses)
        await fresh.router.open(1)
        task = fresh.ask("a", 0)
        await settled()
        assert fresh.engine.requests[0]["prompt_ids"] == [1, 2, 0, 1, 2]
        assert fresh.engine.requests[0]["sampling_params"]["max_tokens"] == 8 - 3
        await fresh.engine.finish(1)
        output = await task
        assert output.log_probs == [-0.5] * 3 + [-1.5] * 4
        assert fresh.client.versions(A0) == [0] * 3 + [1] * 4
        assert [(f.event, f.tokens) for f in await fresh.router.facts()] == [(Event.RESUMED, 3)]

    run(story)


def test_after_a_restart_a_finished_response_is_not_sampled_again() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])
        await house.router.open(0)
        first = house.ask("a", 0)
        await settled()
        await house.engine.finish(1)
        sampled = await first
        house.router._gate.close()
        store = await _store_of(house)  # sampled, not stored yet
        fresh = GateHouse(concurrency=1, groups=1, size=1)
        await fresh.router.restore(store.gate, list(store.responses))
        fresh.client.restore(store.responses)
        again = await fresh.ask("a", 0)  # the gate is closed, and nobody asks it
        assert (again.token_ids, again.log_probs) == (sampled.token_ids, sampled.log_probs)
        assert again.stop_reason == "completed"
        assert fresh.engine.requests == []

    run(story)


def test_after_an_error_the_response_is_played_back_and_goes_on() -> None:
    async def story() -> None:
        house = await _cut_off_after_three_tokens()
        house.client.rewind(A0)
        (kept,) = house.client.unfinished()
        assert (kept.key, kept.num_tokens, kept.calls[0].status) == (A0, 3, Status.PAUSED)
        assert house.client.versions(A0) == []

    run(story)


def test_a_tool_that_answers_otherwise_ends_the_playback() -> None:
    async def story() -> None:
        store = await _store_of(await _cut_off_after_three_tokens())
        fresh = GateHouse(concurrency=1, groups=1, size=1)
        await fresh.router.restore(store.gate, list(store.responses))
        fresh.client.restore(store.responses)
        await fresh.router.open(1)
        fresh.ask("a", 0, prompt=[1, 9])
        await settled()
        assert fresh.engine.requests[0]["prompt_ids"] == [1, 9]
        assert len(fresh.client.unfinished()) == 1

    run(story)


def test_what_the_trainer_scored_takes_the_place_of_the_engines_log_probs() -> None:
    async def story() -> None:
        house = await _cut_off_after_three_tokens()
        house.client.rescore(0, {A0: [-0.1, -0.2, -0.3]})
        (kept,) = house.client.unfinished()
        assert kept.calls[0].logps() == pytest.approx([-0.1, -0.2, -0.3])
        with pytest.raises(ValueError, match="do not fit"):
            house.client.rescore(0, {A0: [-0.1]})

    run(story)


def test_a_group_that_is_too_old_is_given_up_and_its_responses_are_told() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2, drop_lag=0)
        await house.router.draw(["a", "b"], [2, 2])
        await house.router.open(0)
        tasks = [house.ask("a", index) for index in range(2)]
        await settled()
        await house.cut_off(after_tokens=3)
        await settled()
        await house.router.open(1)  # version 0 is one behind
        for task in tasks:
            with pytest.raises(GroupDroppedError):
                await task
        assert (await house.router.news(0.1)).useless == ()  # its loops have not ended yet
        await house.router.complete("a", lengths={}, retries=0, error="dropped")
        assert (await house.router.news(0.1)).useless == ("a",)
        facts = [(f.event, f.index, f.tokens) for f in await house.router.facts()]
        assert facts[-3:] == [
            (Event.DROPPED, None, None),
            (Event.DROPPED, 0, 3),
            (Event.DROPPED, 1, 3),
        ]
        assert (await house.router.stage_report())["rollout/dropped_groups"] == 1

    run(story)


def test_an_engine_that_fails_gives_the_slot_back_and_the_response_may_ask_again() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])
        await house.router.open(0)
        task = house.ask("a", 0)
        await settled()
        house.engine._running.pop(0).set_exception(RuntimeError("out of memory"))
        with pytest.raises(RuntimeError, match="out of memory"):
            await task
        assert await house.router.num_answers() == house.client.num_absorbed == 1
        house.client.rewind(A0)
        again = house.ask("a", 0)
        await settled()
        await house.engine.finish(1)
        assert len((await again).token_ids) == 4
        await asyncio.sleep(0)

    run(story)


def test_a_damaged_answer_is_neither_kept_nor_told_as_tokens_that_were_had() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])
        await house.router.open(0)
        stock = house.engine.generate

        async def damaged(**request: Any) -> TokenOutput:
            output = await stock(**request)
            output.log_probs[0] = float("nan")
            return output

        house.engine.generate = damaged
        task = house.ask("a", 0)
        await settled()
        await house.engine.finish(1)
        with pytest.raises(ValueError, match="NaN log-prob"):
            await task
        house.engine.generate = stock
        house.client.rewind(A0)
        again = house.ask("a", 0)
        await settled()
        await house.engine.finish(1)
        assert len((await again).token_ids) == 4
        facts = [(f.event, f.tokens) for f in await house.router.facts()]
        assert facts == [(Event.STARTED, None), (Event.RESUMED, 0)]

    run(story)
