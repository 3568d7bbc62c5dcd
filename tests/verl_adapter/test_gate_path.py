"""Client and router together, in one event loop: the path of a response through the gate."""

import asyncio
from typing import Any

import pytest
from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.client import SAMPLED_RESPONSE
from tests.verl_adapter.gate_house import GateHouse, run
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl


def test_never_more_than_the_limit_reach_the_engine() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=2, size=3)
        await house.router.draw(["a", "b"], [3, 3])
        await house.router.open(0)
        tasks = [house.ask(uid, index) for uid in "ab" for index in range(3)]
        await settled()
        while not all(task.done() for task in tasks):
            await house.engine.finish(1)
        assert house.engine.most_in_flight == 2
        assert len(house.engine.requests) == 6

    run(story)


def test_an_interrupted_response_goes_on_from_its_tokens_and_joins_its_log_probs() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])
        await house.router.open(0)
        task = house.ask("a", 0)
        await settled()
        house.router._gate.close()
        await house.engine.abort(after_tokens=3)
        await house.router.drained()
        house.engine.version = 1
        await house.router.open(1)
        await settled()
        assert house.engine.requests[1]["prompt_ids"] == [1, 2, 0, 1, 2]
        assert house.engine.requests[1]["sampling_params"]["max_tokens"] == 8 - 3
        await house.engine.finish(1)
        output = await task
        assert output.token_ids == [0, 1, 2, 0, 1, 2, 3]
        assert output.log_probs == [-0.5] * 3 + [-1.5] * 4
        assert house.client.versions(ResponseKey("a", 0)) == [0] * 3 + [1] * 4
        assert output.extra_fields["min_global_steps"] == 0
        assert output.extra_fields["max_global_steps"] == 1

    run(story)


def test_partials_resume_before_new_responses_even_when_they_ask_late() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=9, size=1)
        await house.router.draw(["old", "new"], [1, 1])
        await house.router.open(0)
        house.ask("old", 0, prompt=[7])
        await settled()
        house.ask("new", 0, prompt=[8])
        house.router._gate.close()
        # The abort is answered, but its client has not come back yet when the gate opens again.
        house.engine._running[0].set_result(2)
        while house.router._gate.in_flight:
            await asyncio.sleep(0)
        await house.router.open(1)
        await settled()
        assert house.engine.requests[-1]["prompt_ids"] == [7, 0, 1]

    run(story)


def test_every_turn_of_a_multi_turn_loop_passes_the_gate() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])
        await house.router.open(0)

        async def two_turns() -> list[int]:
            SAMPLED_RESPONSE.set(ResponseKey("a", 0))
            ask = {"sampling_params": {}}
            first = await house.client.generate("r", prompt_ids=[1], **ask)
            tool = [99]
            await house.client.generate("r", prompt_ids=[1, *first.token_ids, *tool], **ask)
            return house.client.versions(ResponseKey("a", 0))

        task = asyncio.create_task(two_turns())
        await settled()
        await house.engine.finish(1)
        report = await house.router.get_status()
        assert report["in_flight"] == 1  # the second turn was admitted in its turn
        await house.engine.finish(1)
        assert await task == [0] * 8
        await house.router.complete("a", lengths={0: 4}, retries=0, error=None)
        assert (await house.router.news(1)).stage_is_over

    run(story)


def test_validation_is_served_while_training_is_held() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])  # drawn, and the gate is closed
        house.ask("a", 0)
        await settled()
        assert house.engine.requests == []
        answer = asyncio.create_task(
            house.client.generate("val", prompt_ids=[3], sampling_params={"max_tokens": 5})
        )
        await settled()
        await house.engine.finish(1)
        assert (await answer).token_ids == [0, 1, 2, 3]
        await settled()
        assert await house.router.get_total_inflight() == 0
        assert (await house.router.stage_report())["samples/finished"] == 0

    run(story)


def test_a_stage_that_finds_its_groups_carried_over_reports_no_in_flight() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a", "b"], [1, 1])
        await house.router.open(0)
        house.ask("a", 0)
        await settled()
        await house.engine.finish(1)
        await house.router.complete("a", lengths={0: 4}, retries=0, error=None)
        await house.router.drained()
        await house.router.open(1)
        await house.router.drained()
        report = await house.router.stage_report()
        assert "rollout/in_flight" not in report
        assert report["rollout/carried_groups"] == 1

    run(story)


def test_a_failing_engine_gives_its_slot_back_and_fails_the_response() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=2)

        async def generate(**request: Any) -> TokenOutput:
            raise RuntimeError("the engine is dead")

        house.engine.generate = generate
        await house.router.draw(["a"], [2])
        await house.router.open(0)
        tasks = [house.ask("a", 0), house.ask("a", 1)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(error) for error in outcomes] == ["the engine is dead"] * 2
        assert (await house.router.get_status())["in_flight"] == 0
        await house.router.complete("a", lengths={}, retries=0, error="no reward")
        assert (await house.router.news(1)).failed == ("a",)

    run(story)


def test_log_probs_are_demanded_of_the_engine() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)

        async def generate(**request: Any) -> TokenOutput:
            return TokenOutput(
                token_ids=[1], stop_reason="completed", extra_fields={"global_steps": 0}
            )

        house.engine.generate = generate
        await house.router.draw(["a"], [1])
        await house.router.open(0)
        with pytest.raises(ValueError, match="calculate_log_probs"):
            await house.ask("a", 0)

    run(story)
