"""Groups whose scores are all equal are replaced, at the gate and in the synchronous buffer."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from copris_core.filtering import FilterBook
from copris_core.rollout.events import Event
from copris_core.verl_adapter.replay_buffer import FilteringReplayBuffer
from tests.verl_adapter.gate_house import GateHouse, run
from tests.verl_adapter.local_queue import LocalQueue
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl

KEEP = {"max_batches": 2, "when_exceeded": "keep"}
STOP = {"max_batches": 1, "when_exceeded": "stop"}


async def _ended(house: GateHouse, uid: str, scores: list[float]) -> None:
    """All members of a group are sampled, stored and judged."""
    size = len(scores)
    await house.router.draw([uid], [size])
    asked = [house.ask(uid, index) for index in range(size)]
    await settled()
    await house.engine.finish(size)
    await asyncio.gather(*asked)
    lengths = dict.fromkeys(range(size), 4)
    await house.router.complete(uid, lengths=lengths, retries=0, error=None, scores=scores)


def test_a_group_without_spread_is_told_once_and_another_prompt_is_wanted() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2, filter=KEEP)
        await house.router.open(0)
        await _ended(house, "a", [1.0, 1.0])
        news = await house.router.news(1)
        assert (news.useless, news.stage_is_over, news.surrender) == (("a",), False, "")
        assert news.prompts_wanted > 0
        assert (await house.router.news(1)).useless == ()
        await _ended(house, "b", [1.0, 0.0])
        assert (await house.router.news(1)).stage_is_over
        assert await house.router.take(1) == ["b"]
        report = await house.router.stage_report()
        assert report["filter/groups_filtered"] == 1

    run(story)


def test_the_ledger_tells_that_a_group_finished_and_was_filtered() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2, filter=KEEP)
        await house.router.open(0)
        await _ended(house, "a", [0.0, 0.0])
        told = [(fact.event, fact.index) for fact in await house.router.facts()]
        assert told[-3:] == [(Event.FINISHED, 0), (Event.FINISHED, 1), (Event.FILTERED, None)]

    run(story)


def test_past_the_bound_a_group_without_spread_is_trained() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2, filter=KEEP)
        await house.router.open(0)
        for uid in "ab":
            await _ended(house, uid, [1.0, 1.0])
        assert not (await house.router.news(1)).stage_is_over
        await _ended(house, "c", [1.0, 1.0])
        assert (await house.router.news(1)).stage_is_over
        assert await house.router.take(1) == ["c"]
        assert (await house.router.stage_report())["filter/kept_without_spread"] == 1

    run(story)


def test_or_the_run_ends_with_the_mend() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2, filter=STOP)
        await house.router.open(0)
        for uid in "ab":
            await _ended(house, uid, [1.0, 1.0])
        assert "raise group_filter.max_batches" in (await house.router.news(1)).surrender

    run(story)


def test_the_bound_counts_each_stage_anew() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=2, groups=1, size=2, filter=KEEP)
        for version in range(3):
            await house.router.open(version)
            await _ended(house, f"a{version}", [1.0, 1.0])
            await _ended(house, f"b{version}", [1.0, 0.0])
            assert await house.router.take(1) == [f"b{version}"]
            await house.router.drained()
            assert (await house.router.stage_report())["filter/groups_filtered"] == 1

    run(story)


class _Prompts:
    """A synchronous loop's queue: each prompt drawn is there at once, with scores as listed."""

    def __init__(self, queue: LocalQueue, scores: list[list[float]]) -> None:
        self._queue, self._scores = queue, scores
        self.num_drawn = 0

    def draw(self, count: int) -> None:
        for _ in range(count):
            uid, scores = f"p{self.num_drawn}", self._scores[self.num_drawn]
            self.num_drawn += 1
            for index, score in enumerate(scores):
                key = f"{uid}_{index}_0"
                self._queue.add(key, tokens=[1.0])
                told = {"reward_extra_info": {"score": score}}
                self._queue.rows["train"][key]["extra_fields"] = told
            self._queue.rows.setdefault("train", {})[uid] = {}
            self._queue.tags.setdefault("train", {})[uid] = {
                "is_prompt": True,
                "status": "finished" if scores else "failure",
                "global_steps": 1,
            }


def _buffer(
    monkeypatch: pytest.MonkeyPatch, scores: list[list[float]], book: FilterBook
) -> tuple[Any, _Prompts, list[dict[str, int]]]:
    queue = LocalQueue(monkeypatch)
    prompts = _Prompts(queue, scores)
    buffer = FilteringReplayBuffer(
        trainer_mode="sync",
        trainer_config=SimpleNamespace(),
        max_off_policy_threshold=None,
        max_off_policy_strategy="drop",
        sampler_kwargs={},
        refill_fn=prompts.draw,
    )
    told: list[dict[str, int]] = []
    buffer.book, buffer.tell_filtered = book, told.append
    return buffer, prompts, told


def test_the_synchronous_buffer_draws_one_prompt_for_each_group_filtered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = [[1, 0], [1, 1], [0, 0], [0, 1], [1, 1], [0, 1], [1, 0]]
    book = FilterBook(groups_per_stage=3, max_batches=9)
    buffer, prompts, told = _buffer(monkeypatch, scores, book)
    prompts.draw(3)
    batch, _ = buffer.sample(1, "train", 3)
    assert {key.split("_")[0] for key in batch.keys} == {"p0", "p3", "p5"}
    assert [sorted(rows) for rows in told] == [
        [f"{uid}_0_0", f"{uid}_1_0"] for uid in ("p1", "p2", "p4")
    ]
    assert prompts.num_drawn == 6  # none too much, none too few
    assert set(buffer.partitions["train"]) == set(batch.keys)  # nothing of the filtered is left


def test_its_bound_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    book = FilterBook(groups_per_stage=2, max_batches=2)
    buffer, prompts, told = _buffer(monkeypatch, [[1, 1]] * 20, book)
    prompts.draw(2)
    batch, _ = buffer.sample(1, "train", 2)
    assert len(batch.keys) == 4
    assert (len(told), prompts.num_drawn) == (4, 6)
    book = FilterBook(groups_per_stage=2, max_batches=2, when_exceeded="stop")
    buffer, prompts, _ = _buffer(monkeypatch, [[1, 1]] * 20, book)
    prompts.draw(2)
    with pytest.raises(RuntimeError, match="no spread"):
        buffer.sample(1, "train", 2)


def test_a_failed_group_is_replaced_and_too_many_end_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    book = FilterBook(groups_per_stage=2, max_batches=2)
    buffer, prompts, _ = _buffer(monkeypatch, [[], [1, 0], [0, 1]], book)
    prompts.draw(2)
    batch, _ = buffer.sample(1, "train", 2)
    assert {key.split("_")[0] for key in batch.keys} == {"p1", "p2"}
    buffer, prompts, _ = _buffer(monkeypatch, [[]] * 9, book)
    prompts.draw(2)
    with pytest.raises(RuntimeError, match="groups failed"):
        buffer.sample(1, "train", 2)
