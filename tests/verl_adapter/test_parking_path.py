"""A response that is parked over an update, from its client through the router and back."""

import asyncio

import pytest

from copris_core.rollout.events import Event
from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.client import SAMPLED_RESPONSE
from tests.verl_adapter.gate_house import run
from tests.verl_adapter.parking_house import ParkingHouse
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl

A0 = ResponseKey("a", 0)


def test_a_parked_response_goes_on_in_its_engine_and_its_versions_are_joined() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=2, groups=1, size=2)
        await house.begin("a", size=2)
        tasks = [house.ask("a", index) for index in range(2)]
        await settled()
        await house.server.sample(3, 4)
        await house.park()
        assert (await house.in_flight(), [task.done() for task in tasks]) == (0, [False, False])
        report = await house.router.stage_report()
        assert (report["rollout/interrupted"], report["tokens/generated"]) == (2, 4)
        await house.next_stage(1)
        await settled()
        await house.server.sample(5, finish=True)
        output, _ = await asyncio.gather(*tasks)
        assert output.token_ids == [3, 4, 5]
        assert output.log_probs == pytest.approx([-0.3, -0.4, -0.5])
        assert house.client.versions(A0) == [0, 0, 1]
        assert output.extra_fields["min_global_steps"] == 0
        assert output.extra_fields["max_global_steps"] == 1
        assert len(house.server.requests) == 2
        report = await house.router.stage_report()
        assert (report["samples/finished"], report["tokens/generated"]) == (2, 2)
        assert report["rollout/reprefill_tokens"] == 2 * 2
        assert await house.router.num_answers() == house.client.num_absorbed == 2

    run(story)


def test_the_ledger_is_told_of_parked_responses_as_of_any_other() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=1, groups=1, size=1)
        await house.begin("a")
        house.ask("a", 0)
        await settled()
        await house.server.sample(3, 4)
        await house.park()
        await house.next_stage(1)
        await settled()
        await house.server.end("a_0", 5)
        await house.completed("a", tokens=3)
        told = [(fact.event, fact.version, fact.tokens) for fact in await house.router.facts()]
        assert told == [
            (Event.STARTED, 0, None), (Event.RESUMED, 1, 2), (Event.FINISHED, 1, 3),
        ]  # fmt: skip

    run(story)


def test_the_limit_is_reached_as_soon_as_the_gate_opens_and_partials_come_first() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=2, groups=4, size=1)
        await house.begin("a", "b", "c", "d")
        for uid in "abcd":
            house.ask(uid, 0)
        await settled()
        await house.park()
        await house.next_stage(1)
        assert await house.in_flight() == 2
        await settled()
        assert [request["response"] for request in house.server.requests] == ["a_0", "b_0"]
        await house.server.end("a_0", 7)
        assert house.server.requests[-1]["response"] == "c_0"

    run(story)


def test_who_is_not_let_in_comes_back_with_its_tokens_and_is_resumed_later() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=3, groups=3, size=1, servers=2)
        await house.begin("a", "b", "c")
        tasks = {uid: house.ask(uid, 0) for uid in "abc"}
        await settled()
        for server in house.servers.values():
            await server.sample(3, 4)
        await house.park()
        await house.next_stage(1, concurrency=1)
        await settled()
        assert await house.in_flight() == 1
        sent_back = [server.sent_back for server in house.servers.values()]
        assert sent_back == [[["c_0"]], [["b_0"]]]
        assert house.client.unfinished()[1].calls[0].tokens() == [3, 4]
        await house.server.end("a_0", 5)
        (request,) = [
            each
            for s in house.servers.values()
            for each in s.requests[-1:]
            if each["response"] == "b_0" and len(each["prompt_ids"]) > 2
        ]
        assert request["prompt_ids"] == [1, 2, 3, 4]
        for uid in "bc":
            for server in house.servers.values():
                await server.sample(6, finish=True)
            assert (await tasks[uid]).token_ids == [3, 4, 6]
            assert house.client.versions(ResponseKey(uid, 0)) == [0, 0, 1]
        report = await house.router.stage_report()
        assert report["rollout/reprefill_tokens"] == 3 * 2
        assert report["samples/finished"] == 3

    run(story)


def test_before_a_checkpoint_everybody_comes_back_with_all_tokens_and_keeps_the_order() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=3, groups=3, size=1)
        await house.begin("a", "b", "c")
        for uid in "cba":  # the order of asking is not the order of drawing
            house.ask(uid, 0)
        await settled()
        await house.server.sample(3, 4)
        await house.park()
        assert sum(each.num_tokens for each in house.client.unfinished()) == 0
        await house.router.unpark()
        await settled()
        assert {
            each.key.uid: each.num_tokens for each in house.client.unfinished()
        } == dict.fromkeys("abc", 2)
        assert await house.router.num_answers() == house.client.num_absorbed == 3
        assert (await house.router.snapshot()).growing[0].uid == "a"
        await house.router.unpark()  # validation and a checkpoint in the same step
        await house.next_stage(1, concurrency=1)
        await settled()
        for uid in "abc":
            assert house.server.requests[-1]["response"] == f"{uid}_0"
            assert house.server.requests[-1]["prompt_ids"] == [1, 2, 3, 4]
            await house.server.end(f"{uid}_0", 5)

    run(story)


def test_with_enough_groups_ready_everybody_stays_parked_and_nobody_asks() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=3, groups=1, size=1)
        await house.begin("a", "b", "c")
        tasks = {uid: house.ask(uid, 0) for uid in "abc"}
        await settled()
        await house.server.sample(3)
        await house.server.end("a_0", 4)
        await house.server.end("b_0", 4)
        for uid in "ab":
            await house.completed(uid, tokens=2)
        await house.park()
        assert await house.router.take(1) == ["a"]
        await house.next_stage(1)
        assert (await house.router.news(1)).stage_is_over
        assert (await house.router.get_status())["waiting"] == 0
        assert house.server.parking.is_stopped
        await house.park()
        assert await house.router.take(1) == ["b"]
        await house.next_stage(2)
        await settled()
        await house.server.end("c_0", 5)
        assert (await tasks["c"]).token_ids == [3, 5]
        assert house.client.versions(ResponseKey("c", 0)) == [0, 2]
        assert len(house.server.requests) == 3

    run(story)


def test_a_stage_that_ends_without_admitting_anybody_leaves_them_parked_and_in_line() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=3, groups=1, size=1)
        await house.begin("a", "b", "c")
        tasks = {uid: house.ask(uid, 0) for uid in "abc"}
        await settled()
        await house.server.sample(3)
        await house.server.end("a_0", 4)
        await house.completed("a", tokens=2)
        await house.server.end("b_0", 4)  # sampled, and not stored yet
        await house.park()
        await house.router.take(1)
        await house.next_stage(1)
        assert (await house.in_flight(), (await house.router.get_status())["waiting"]) == (0, 1)
        await house.completed("b", tokens=2)
        assert (await house.router.news(1)).stage_is_over
        await house.park()
        await house.router.take(1)
        assert house.server.sent_back == []
        await house.next_stage(2)
        await settled()
        await house.server.end("c_0", 5)
        assert (await tasks["c"]).token_ids == [3, 5]
        assert (await house.router.stage_report())["rollout/reprefill_tokens"] == 1

    run(story)


def test_who_waits_in_line_and_is_sent_back_for_a_checkpoint_does_not_ask_twice() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=2, groups=1, size=1)
        await house.begin("b", "c")
        tasks = {uid: house.ask(uid, 0) for uid in "bc"}
        await settled()
        await house.server.sample(3)
        await house.server.end("b_0", 4)
        await house.park()
        await house.next_stage(1)  # c asks, and is not needed: b only has to be stored
        await house.completed("b", tokens=2)
        await house.park()
        await house.router.take(1)
        await house.router.unpark()
        await settled()
        assert (await house.router.get_status())["waiting"] == 1
        await house.next_stage(2)
        await settled()
        await house.server.end("c_0", 5)
        assert (await tasks["c"]).token_ids == [3, 5]

    run(story)


def test_a_response_that_ended_while_parked_counts_once_it_is_admitted() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=1, groups=1, size=1)
        await house.begin("a")
        task = house.ask("a", 0)
        await settled()
        await house.server.sample(3)
        await house.park()
        house.server.llm.is_paused = False
        await house.server.end("a_0", 4)  # the output was still on its way
        assert (task.done(), await house.in_flight()) == (False, 0)
        assert (await house.router.stage_report())["samples/finished"] == 0
        await house.next_stage(1)
        await settled()
        assert (await task).token_ids == [3, 4]
        assert await house.in_flight() == 0
        report = await house.router.stage_report()
        assert (report["samples/finished"], report["tokens/generated"]) == (1, 1)
        await house.completed("a", tokens=2)
        assert (await house.router.news(1)).stage_is_over

    run(story)


def test_an_error_while_parked_costs_the_tokens_of_that_call_and_leaves_the_gate_alone() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=2, groups=2, size=1)
        await house.begin("a", "b")
        failing, other = house.ask("a", 0), house.ask("b", 0)
        await settled()
        await house.server.sample(3)
        await house.park()
        house.server.llm.fail(house.server.llm.ids[0], TimeoutError("no answer"))
        with pytest.raises(TimeoutError):
            await failing
        house.client.rewind(A0)  # as the agent loop does before it tries again
        again = house.ask("a", 0)
        await settled()
        await house.next_stage(1)
        await settled()
        assert await house.in_flight() == 2
        assert house.server.requests[-1]["prompt_ids"] == [1, 2]
        await house.server.sample(5, finish=True)
        assert [(await task).token_ids for task in (again, other)] == [[5], [3, 5]]
        for uid, tokens in (("a", 1), ("b", 2)):
            await house.completed(uid, tokens=tokens)
        assert (await house.router.news(1)).stage_is_over

    run(story)


def test_a_second_turn_parks_like_the_first() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=1, groups=1, size=1)
        await house.begin("a")

        async def two_turns() -> list[int]:
            SAMPLED_RESPONSE.set(A0)
            ask = {"sampling_params": {}}
            first = await house.client.generate("r", prompt_ids=[1], **ask)
            second = await house.client.generate("r", prompt_ids=[1, *first.token_ids, 99], **ask)
            return second.token_ids

        task = asyncio.create_task(two_turns())
        await settled()
        await house.server.sample(3, 4)
        await house.park()
        await house.next_stage(1)
        await settled()
        await house.server.end("a_0", 5)
        await house.server.sample(6)
        await house.park()
        await house.next_stage(2)
        await settled()
        # As for a partial that is sent again: of the turn that was interrupted.
        assert (await house.router.stage_report())["rollout/reprefill_tokens"] == 1
        await house.server.end("a_0", 7)
        assert await task == [6, 7]
        assert house.client.versions(A0) == [0, 0, 1, 1, 2]
        assert len(house.server.requests) == 2

    run(story)


def test_who_had_not_reached_the_engine_comes_back_and_asks_again() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=1, groups=1, size=1)
        await house.begin("a")
        enters, may_enter = asyncio.Event(), house.server.parking.may_enter

        async def slowly(stage: int | None) -> bool:
            await enters.wait()
            return await may_enter(stage)

        house.server.parking.may_enter = slowly
        task = house.ask("a", 0)
        await settled()
        house.router._gate.close()
        await house.router.park()
        assert await house.in_flight() == 1
        enters.set()
        await house.router.drained()
        await house.next_stage(1)
        await settled()
        await house.server.end("a_0", 5)
        assert (await task).token_ids == [5]
        assert [request["stage"] for request in house.server.requests] == [1]

    run(story)


def test_an_engine_that_does_not_start_again_ends_the_stage_with_its_word() -> None:
    async def story() -> None:
        house = ParkingHouse(concurrency=1, groups=1, size=1)

        async def start_again(leaving: list[str]) -> None:
            raise RuntimeError("the engine does not start")

        await house.next_stage(0, concurrency=1)
        await house.router.draw(["a"], [1])
        house.ask("a", 0)
        await settled()
        await house.park()
        (server,) = house.servers.values()
        server.start_again = start_again
        await house.next_stage(1, concurrency=1)
        await settled()
        with pytest.raises(RuntimeError, match="the engine does not start"):
            await house.router.news(1)

    run(story)
