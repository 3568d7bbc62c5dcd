"""Requests that stay in an engine over an update: who is frozen, where, and with which tokens."""

import asyncio
from typing import Any

import pytest
from verl.workers.rollout.replica import TokenOutput

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter.parking import SEGMENTS, EngineCall, Parking, Stay
from tests.verl_adapter.gate_house import run
from tests.verl_adapter.parking_house import ParkingServer
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl

A0 = ResponseKey("a", 0)


async def _ask(server: ParkingServer, *names: str, stage: int = 0) -> list[Any]:
    tasks = [
        asyncio.create_task(
            server.generate(
                prompt_ids=[1], sampling_params={}, request_id=f"{name}_r", response=name,
                stage=stage,
            )
        )
        for name in names
    ]  # fmt: skip
    await settled()
    return tasks


def _segments(output: TokenOutput) -> list[tuple[int, int]]:
    return output.extra_fields[SEGMENTS]


# ---- one engine ----


def test_a_stop_says_how_far_everybody_is_and_forgets_the_cache() -> None:
    async def story() -> None:
        server = ParkingServer()
        first, _ = await _ask(server, "a_0", "b_0")
        await server.sample(5, 6)
        await _ask(server, "c_0")
        assert await server.stop(0) == {"a_0": 2, "b_0": 2, "c_0": 0}
        assert server.llm.calls == ["pause scheduler keep True"]
        assert server.parking.is_stopped
        assert not first.done()
        await server.start_again([])
        assert server.llm.calls[1:] == ["resume"]
        assert not server.parking.is_stopped

    run(story)


def test_whoever_has_its_answer_is_not_named() -> None:
    async def story() -> None:
        server = ParkingServer()
        ended, goes_on = await _ask(server, "a_0", "b_0")
        server.llm.step("a_0_r", 5, finish=True)
        server.llm.step("b_0_r", 6)
        assert await server.stop(0) == {"b_0": 1}
        assert (await ended).token_ids == [5]
        assert not goes_on.done()

    run(story)


def test_a_request_that_is_being_tokenised_is_waited_for_and_stays() -> None:
    async def story() -> None:
        server = ParkingServer()
        server.llm.tokenises.clear()
        (task,) = await _ask(server, "a_0")
        stopping = asyncio.create_task(server.stop(0))
        await asyncio.sleep(0.02)
        assert not stopping.done()
        server.llm.tokenises.set()
        assert await stopping == {"a_0": 0}
        await server.start_again([])
        await server.sample(5, finish=True)
        assert _segments(await task) == [(1, 0)]

    run(story)


def test_an_answer_is_cut_where_the_weights_changed() -> None:
    async def story() -> None:
        server = ParkingServer()
        (task,) = await _ask(server, "a_0")
        for version, tokens in enumerate(([5, 6], [7], [])):
            server.version = version
            await server.sample(*tokens)
            staying = await server.stop(version)
            await server.start_again([])
        assert staying == {"a_0": 3}
        server.version = 3
        await server.sample(8, 9, finish=True)
        output = await task
        assert output.token_ids == [5, 6, 7, 8, 9]
        assert _segments(output) == [(2, 0), (1, 1), (2, 3)]

    run(story)


def test_a_late_request_is_refused_and_one_of_the_next_stage_waits() -> None:
    async def story() -> None:
        server = ParkingServer()
        await server.stop(4)
        late, of_a_stage_before, following = [
            (await _ask(server, f"{name}_0", stage=stage))[0]
            for name, stage in (("a", 4), ("b", 3), ("c", 5))
        ]
        validation = asyncio.create_task(server.parking.may_enter(None))
        await settled()
        for refused in (late, of_a_stage_before):
            output = await refused
            assert (output.token_ids, output.stop_reason) == ([], "aborted")
        assert server.requests == []
        assert not validation.done()
        await server.start_again([])
        await settled()
        await server.sample(7, finish=True)
        assert (await following).token_ids == [7]
        assert await validation

    run(story)


def test_who_waited_while_the_engine_started_and_stopped_again_is_not_let_in() -> None:
    async def story() -> None:
        server = ParkingServer()
        await server.stop(0)
        (task,) = await _ask(server, "a_0", stage=1)
        await server.start_again([])
        assert await server.stop(1) == {}
        assert (await task).stop_reason == "aborted"

    run(story)


def test_who_leaves_is_aborted_with_what_it_has_before_anybody_goes_on() -> None:
    async def story() -> None:
        server = ParkingServer()
        leaving, staying = await _ask(server, "a_0", "b_0")
        await server.sample(5, 6)
        await server.stop(0)
        server.version = 1
        await server.start_again(["a_0", "answered_0"])
        output = await leaving
        assert (output.token_ids, output.stop_reason) == ([5, 6], "aborted")
        assert _segments(output) == [(2, 0)]
        assert server.llm.calls[1:] == ["abort a_0_r", "resume"]
        assert not staying.done()
        assert await server.stop(1) == {"b_0": 2}

    run(story)


def test_a_stretch_without_tokens_is_none() -> None:
    visit = EngineCall(response="a_0", request_id="r")
    visit.cut(0, 3)
    assert visit.segments == []
    visit.cut(2, 4)
    visit.cut(2, 5)
    assert (visit.segments, visit.num_told) == ([(2, 4)], 2)


# ---- the router's book ----


def _book(*keys: ResponseKey, server_id: str = "s") -> Parking:
    book = Parking()
    for key in keys:
        book.enter(key, Stay(server_id=server_id, had=0, prefix=0))
    return book


def test_a_parked_response_is_known_by_its_name_and_only_its_new_tokens_count() -> None:
    async def story() -> None:
        key = ResponseKey("a_b", 10)
        book = _book(key)
        assert book.park("a_b_10", 3) == (key, 3)
        assert book.park("a_b_10", 3) is None  # it is parked already
        assert book.park("x_0", 3) is None  # its answer is here
        assert book.resume(key).seen == 3
        assert book.park("a_b_10", 5) == (key, 2)

    run(story)


def test_nobody_is_asked_for_twice() -> None:
    async def story() -> None:
        b0 = ResponseKey("b", 0)
        book = _book(A0, b0)
        book.park("a_0", 1)
        assert book.to_ask() == [A0]
        book.park("b_0", 1)
        assert book.to_ask() == [b0]
        book.resume(A0)
        book.park("a_0", 2)
        assert book.to_ask() == [A0]
        book.leave(A0)
        assert book.has_asked(A0)
        assert not book.has_asked(A0)
        assert book.parked() == [b0]

    run(story)


def test_only_who_is_parked_can_go_on_where_it_is() -> None:
    book = _book(A0)
    assert book.resume(A0) is None
    assert book.resume(ResponseKey("b", 0)) is None


def test_a_response_that_ended_while_parked_is_in_no_engine() -> None:
    async def story() -> None:
        b0 = ResponseKey("b", 0)
        book = _book(A0, b0)
        for name in ("a_0", "b_0"):
            book.park(name, 1)
        book._stays[A0].has_ended = True
        assert book.in_engines() == [b0]
        assert book.parked() == [A0, b0]
        assert book.names_by_server([b0]) == {"s": ["b_0"]}

    run(story)
