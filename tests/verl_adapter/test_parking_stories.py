"""Random stories of parking: whatever happens, every token reaches its client exactly once."""

import asyncio
import random
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.rollout.order import ResponseKey
from tests.verl_adapter.gate_house import run
from tests.verl_adapter.parking_house import ParkingHouse, ParkingServer
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl

SIZE, NUM_STAGES, BUDGET = 2, 6, 8


class Story:
    """A trainer, its prompts, and engines that sample a different number each time."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.house = ParkingHouse(
            concurrency=dice.randint(1, 5),
            groups=dice.randint(1, 2),
            size=SIZE,
            servers=dice.randint(1, 2),
        )
        self.sampled: dict[str, list[tuple[int, int]]] = defaultdict(list)
        """(token, policy version) of each response, by its name."""
        self.version = 0
        self.num_prompts = 0
        self.told = 0
        self.arrived = 0
        self.groups: list[asyncio.Task[None]] = []

    async def play(self) -> None:
        for self.version in range(NUM_STAGES):
            await self.house.next_stage(self.version, concurrency=self.dice.randint(1, 5))
            await self._stage()
            if self.dice.random() < 0.3:
                await self.house.router.unpark()
                await settled()
                self._everything_is_with_the_clients()
        await self.house.router.unpark()
        await settled()
        assert all(task.exception() is None for task in self.groups if task.done())

    async def _stage(self) -> None:
        router = self.house.router
        for _ in range(400):
            news = router._news_now()
            if news is not None:
                if news.stage_is_over:
                    break
                await self._draw(news.prompts_wanted)
            for server in self.house.servers.values():
                self._step(server)
            await settled()
            assert await self.house.in_flight() <= router._gate.limit
        else:
            raise AssertionError("the stage does not end")
        await self.house.park()
        await router.take(router._gate._groups_per_stage)

    async def _draw(self, count: int) -> None:
        uids = [f"p{self.num_prompts + i}" for i in range(count)]
        self.num_prompts += count
        await self.house.router.draw(uids, [SIZE] * count)
        self.groups += [asyncio.create_task(self._group(uid)) for uid in uids]
        await settled()

    async def _group(self, uid: str) -> None:
        outputs = await asyncio.gather(*(self.house.ask(uid, i) for i in range(SIZE)))
        for index, output in enumerate(outputs):
            versions = self.house.client.versions(ResponseKey(uid, index))
            assert (
                list(zip(output.token_ids, versions, strict=True)) == self.sampled[f"{uid}_{index}"]
            )
            assert versions == sorted(versions)
            self.arrived += len(output.token_ids)
        for index in range(SIZE):
            self.house.client.forget(ResponseKey(uid, index))
        await self.house.router.complete(
            uid,
            lengths={i: len(each.token_ids) for i, each in enumerate(outputs)},
            retries=0,
            error=None,
        )

    def _step(self, server: ParkingServer) -> None:
        if server.llm.is_paused:
            return
        for request_id in server.llm.ids:
            if self.dice.random() < 0.2:
                continue  # it waits in the engine
            self.told += 1
            tokens = self.sampled[request_id.rpartition("_")[0]]
            tokens.append((self.told, self.version))
            ends = len(tokens) == BUDGET or self.dice.random() < 0.15
            server.llm.step(request_id, self.told, finish=ends)

    def _everything_is_with_the_clients(self) -> int:
        """Tokens that they hold of responses whose group has not ended."""
        num_held = 0
        for response in self.house.client.unfinished():
            held = [token for call in response.calls for token in call.tokens()]
            name = f"{response.key.uid}_{response.key.index}"
            assert held == [token for token, _ in self.sampled[name]]
            num_held += len(held)
        return num_held


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_every_token_arrives_once_in_order_and_under_its_own_version(seed: int) -> None:
    story = Story(random.Random(seed))
    run(story.play)
    held = story._everything_is_with_the_clients()
    # Every token that an engine sampled is with its client, in a group that ended or in one held.
    assert story.arrived + held == story.told > 0
