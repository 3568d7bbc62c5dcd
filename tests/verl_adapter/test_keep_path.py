"""A kept response through the router: by its name, to its replica, and counted once."""

import asyncio
from typing import Any

import pytest
from verl.workers.rollout.replica import TokenOutput

from copris_core.verl_adapter.keep import KEPT_TOKENS
from copris_core.verl_adapter.router import Router
from tests.verl_adapter.gate_house import GateHouse
from tests.verl_adapter.scripted import Local, settled

pytestmark = pytest.mark.verl

SETTINGS = {
    "strategy": "copris",
    "adaptive": False,
    "concurrency": 4,
    "groups_per_stage": 2,
    "group_size": 2,
    "max_lag": None,
    "drop_lag": None,
    "filter": None,
}


class _Replica:
    """Answers at once: cut off after a token, and all of a resumed request kept."""

    def __init__(self, *, keeps: bool) -> None:
        self.responses: list[str] = []
        self._keeps = keeps

    async def generate(self, **request: Any) -> TokenOutput:
        self.responses.append(request["response"])
        await asyncio.sleep(0.001)
        resumed = len(request["prompt_ids"]) > 2
        kept = len(request["prompt_ids"]) if resumed and self._keeps else 0
        return TokenOutput(
            token_ids=[7],
            log_probs=[-0.5],
            stop_reason="completed" if resumed else "aborted",
            extra_fields={"global_steps": 0, KEPT_TOKENS: kept},
        )


async def _two_stages(*, keeps: bool) -> tuple[Router, list[_Replica], list[list[str]]]:
    """Two groups of two over two replicas, each response cut once; who was where in stage 1."""
    replicas = [_Replica(keeps=keeps), _Replica(keeps=keeps)]
    handles = {str(i): Local(each) for i, each in enumerate(replicas)}
    router = Router(handles, {**SETTINGS, "keeps_kv": True})

    async def visit(uid: str, index: int, *, prefix: int) -> None:
        request = {"prompt_ids": [1, 2, *[7] * prefix], "sampling_params": {"max_tokens": 8}}
        await router.sample(uid, index, request, prefix=prefix, had=prefix)

    keys = [(uid, index) for uid in "ab" for index in range(2)]
    await router.draw(["a", "b"], [2, 2])
    await router.open(0)
    await asyncio.gather(*(visit(*key, prefix=0) for key in keys))
    router._gate.close()
    first = [list(each.responses) for each in replicas]
    await router.open(1)
    # In the other order, so that the least loaded replica would be the wrong one.
    await asyncio.gather(*(visit(*key, prefix=3) for key in reversed(keys)))
    return router, replicas, first


def test_an_interrupted_response_goes_back_to_the_replica_that_keeps_it() -> None:
    _, replicas, first = asyncio.run(_two_stages(keeps=True))

    assert sorted(first[0] + first[1]) == ["a_0", "a_1", "b_0", "b_1"]
    assert [sorted(each.responses[2:]) for each in replicas] == [sorted(each) for each in first]


@pytest.mark.parametrize(("keeps", "kept", "again"), [(True, 4 * 5, 0), (False, 0, 4 * 3)])
def test_what_was_kept_was_not_prefilled_again(keeps: bool, kept: int, again: int) -> None:
    async def story() -> dict[str, float]:
        router, _, _ = await _two_stages(keeps=keeps)
        return await router.stage_report()

    report = asyncio.run(story())

    assert (report["kv/kept_tokens"], report["rollout/reprefill_tokens"]) == (kept, again)


def test_every_server_is_told_for_whom_it_samples_and_of_which_stage() -> None:
    async def story() -> None:
        house = GateHouse(concurrency=1, groups=1, size=1)
        await house.router.draw(["a"], [1])
        await house.router.open(3)
        task = house.ask("a", 0)
        await settled()
        await house.engine.finish(1)
        await task
        request = house.engine.requests[0]
        assert (request["response"], request["stage"]) == ("a_0", 3)

    asyncio.run(story())
