"""Requests that stay in the engine over a weight update, against a scripted vLLM."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from copris_core.rollout.states import IllegalMoveError
from copris_core.verl_adapter import keep
from copris_core.verl_adapter.keep import VISIT, KeepingEngine, Pace, Visit
from tests.verl_adapter.fake_vllm import FakeLLM, turns

pytestmark = pytest.mark.verl


class _House:
    def __init__(self) -> None:
        self.llm = FakeLLM()
        self.engine = KeepingEngine(self.llm, abort="abort")
        self._num_requests = 0

    def ask(
        self, response: str | None, tokens: list[int], *, max_tokens: int = 8
    ) -> asyncio.Task[Any]:
        self._num_requests += 1
        request_id = f"{response}.{self._num_requests}"

        async def visit() -> Any:
            mine = None if response is None else Visit(response=response)
            VISIT.set(mine)
            outputs = [
                (list(output.outputs[0].token_ids), output.outputs[0].finish_reason)
                async for output in self.engine.generate(
                    prompt={"prompt_token_ids": tokens},
                    sampling_params=SimpleNamespace(max_tokens=max_tokens),
                    request_id=request_id,
                )
            ]
            return SimpleNamespace(
                first=outputs[0][0],
                tokens=outputs[-1][0],
                reason=outputs[-1][1],
                kept=mine.kept_tokens if mine else 0,
            )

        return asyncio.create_task(visit())

    async def update(self) -> None:
        """Stop, and let the engine go again, as around a weight update."""
        await self.engine.pause_generation(wait_for_inflight_requests=False, clear_cache=True)
        await turns()
        await self.engine.resume_generation()


def _run(story: Callable[[_House], Awaitable[None]]) -> None:
    async def told() -> None:
        await story(_House())
        await turns()

    asyncio.run(asyncio.wait_for(told(), timeout=10))


def test_a_stopped_caller_has_every_token_and_its_request_stays_in_the_engine() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1, 2])
        await turns()
        await house.llm.sample(5)
        await house.llm.sample(6, 7)
        await house.engine.pause_generation()
        answer = await task
        assert (answer.tokens, answer.reason, answer.kept) == ([5, 6, 7], "abort", 0)
        assert house.llm.ids == ["a.1"]
        assert house.llm.calls == ["pause keep False"]

    _run(story)


def test_who_comes_back_gets_only_the_tokens_that_it_does_not_have() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1, 2])
        await turns()
        await house.llm.sample(5, 6)
        await house.update()
        await task
        task = house.ask("a", [1, 2, 5, 6], max_tokens=6)
        await turns()
        await house.llm.sample(7)
        await house.update()
        second = await task
        task = house.ask("a", [1, 2, 5, 6, 7], max_tokens=5)
        await turns()
        await house.llm.sample(8, 9, finish=True)
        third = await task
        assert (second.tokens, second.reason, second.kept) == ([7], "abort", 4)
        assert (third.tokens, third.reason, third.kept) == ([8, 9], "length", 5)
        assert len(house.llm.prompts) == 1

    _run(story)


def test_a_returning_caller_hears_something_at_once() -> None:
    """verl's stop waits for the first output of each request it admitted."""

    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        await house.update()
        await task
        outputs = house.engine.generate(
            prompt={"prompt_token_ids": [1, 5]},
            sampling_params=SimpleNamespace(max_tokens=7),
            request_id="a.2",
        )
        VISIT.set(Visit(response="a"))
        first = await asyncio.wait_for(anext(outputs), timeout=1)
        assert first.outputs[0].token_ids == []
        await outputs.aclose()

    _run(story)


def test_the_engine_does_not_run_before_the_first_caller_comes() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        await house.update()
        await task
        assert "resume" not in house.llm.calls
        back = house.ask("a", [1, 5], max_tokens=7)
        other = house.ask("b", [1])
        await turns()
        assert house.llm.calls.count("resume") == 1
        back.cancel()
        other.cancel()

    _run(story)


def test_an_engine_that_keeps_nothing_runs_again_at_once() -> None:
    async def story(house: _House) -> None:
        await house.update()
        assert house.llm.calls == ["pause keep False", "resume"]

    _run(story)


@pytest.mark.parametrize(("tokens", "max_tokens"), [([1, 2], 7), ([1, 5, 9], 7), ([1, 5], 8)])
def test_a_caller_that_asks_for_something_else_is_prefilled_again(
    tokens: list[int], max_tokens: int
) -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        await house.update()
        await task
        task = house.ask("a", tokens, max_tokens=max_tokens)
        await turns()
        assert house.llm.ids == ["a.2"]
        await house.llm.sample(6, finish=True)
        answer = await task
        assert (answer.tokens, answer.kept) == ([6], 0)

    _run(story)


def test_a_validation_frees_what_is_kept_before_the_engine_runs() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        await house.update()
        await task
        validation = house.ask(None, [1])
        await turns()
        assert house.llm.ids == ["None.2"]
        assert house.llm.calls == ["pause keep False", "abort a.1", "resume"]
        await house.llm.sample(6, finish=True)
        assert (await validation).tokens == [6]

    _run(story)


def test_a_request_of_nobody_is_aborted_by_a_stop() -> None:
    async def story(house: _House) -> None:
        task = house.ask(None, [1])
        await turns()
        await house.llm.sample(5)
        await house.engine.pause_generation()
        answer = await task
        assert (answer.tokens, answer.reason) == ([5], "abort")
        assert (house.llm.ids, house.engine.num_kept) == ([], 0)

    _run(story)


def test_a_request_that_finished_while_the_engine_stopped_is_not_cut() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        sampled = asyncio.create_task(house.llm.sample(6, finish=True))
        await house.engine.pause_generation()
        answer = await task
        await sampled
        assert (answer.tokens, answer.reason) == ([5, 6], "length")
        assert house.engine.num_kept == 0

    _run(story)


def test_a_finished_request_whose_last_output_is_still_to_be_read_is_not_cut() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        state = house.llm.output_processor.request_states.pop("a.1-internal")
        await house.engine.pause_generation()
        state.tokens.append(6)
        state.queue.put_nowait(state.output("stop"))
        answer = await task
        assert (answer.tokens, answer.reason) == ([5, 6], "stop")
        assert house.engine.num_kept == 0

    _run(story)


def test_the_snapshot_waits_for_outputs_that_are_still_on_their_way() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        queue = house.llm.engine_core.outputs_queue
        queue.put_nowait("the last step")

        async def late() -> None:
            await asyncio.sleep(0.01)
            await house.llm.sample(6)
            queue.get_nowait()

        late_step = asyncio.create_task(late())
        await house.engine.pause_generation()
        await late_step
        assert (await task).tokens == [5, 6]

    _run(story)


def test_tokens_sampled_without_their_caller_never_get_the_next_policy_version() -> None:
    async def story(house: _House) -> None:
        tasks = [house.ask(name, [1]) for name in "ab"]
        await turns()
        await house.llm.sample(5)
        await house.update()
        for task in tasks:
            await task
        back = house.ask("a", [1, 5], max_tokens=7)  # wakes the engine; b stays away
        await turns()
        await house.llm.sample(6)
        await house.update()
        assert (await back).tokens == [6]
        assert house.llm.ids == ["a.1"]
        task = house.ask("b", [1, 5], max_tokens=7)
        await turns()
        await house.llm.sample(7, finish=True)
        assert ((await task).tokens, len(house.llm.prompts)) == ([7], 3)

    _run(story)


def test_a_second_stop_before_anything_ran_keeps_what_is_kept() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        await house.update()
        await house.update()
        await task
        assert (house.llm.ids, house.engine.num_kept) == (["a.1"], 1)

    _run(story)


def test_who_never_comes_back_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep, "UNCLAIMED_S", 0.02)

    async def story(house: _House) -> None:
        tasks = [house.ask(name, [1]) for name in "ab"]
        await turns()
        await house.llm.sample(5)
        await house.update()
        for task in tasks:
            await task
        back = house.ask("a", [1, 5], max_tokens=7)
        await asyncio.sleep(0.05)
        assert house.llm.ids == ["a.1"]
        back.cancel()

    _run(story)


def test_new_requests_share_no_prefix_with_those_of_before_the_stop() -> None:
    async def story(house: _House) -> None:
        tasks = [house.ask(name, [1]) for name in "ab"]
        await turns()
        await house.update()
        tasks.append(house.ask("c", [1]))
        await turns()
        first, sibling, later = (prompt["cache_salt"] for prompt in house.llm.prompts)
        assert first == sibling != later
        for task in tasks:
            task.cancel()

    _run(story)


def test_a_caller_that_goes_away_takes_its_request_with_it() -> None:
    async def story(house: _House) -> None:
        task = house.ask("a", [1])
        await turns()
        await house.llm.sample(5)
        task.cancel()
        await turns()
        assert house.llm.ids == []

    _run(story)


def test_a_doze_that_nothing_preceded_is_refused() -> None:
    async def story(house: _House) -> None:
        with pytest.raises(IllegalMoveError, match="RUNNING -> DOZING"):
            house.engine._move(Pace.DOZING)

    _run(story)
