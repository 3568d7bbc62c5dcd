"""Kept requests in a real vLLM engine: one start of it, about a minute."""

import asyncio
import os
import signal

import pytest

from tests.verl_adapter.kept_kv import House, errors_after, prompts, run

# vLLM and what it imports warn of their own past; this is not the place to mend it.
pytestmark = [pytest.mark.verl, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EXACT = 1e-4
"""fp32, nats: the same sum in another order."""


def test_kept_requests_go_on_in_a_real_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine a few visits take longer than an unclaimed request waits in a run.
    monkeypatch.setattr("copris_core.verl_adapter.keep.UNCLAIMED_S", 120.0)
    run(_story)


async def _story(house: House) -> None:
    await _kept_requests_are_exact_only_while_the_weights_stay(house)
    await _no_new_request_meets_a_prefix_of_the_old_weights(house)
    await _a_stopped_engine_samples_nothing(house)
    await _a_killed_core_is_an_error(house)


async def _kept_requests_are_exact_only_while_the_weights_stay(house: House) -> None:
    assert max(await errors_after(house, 0.0, keep=True)) < EXACT
    assert max(await errors_after(house, 1e-2, keep=False)) < EXACT
    kept = await errors_after(house, 1e-2, keep=True)
    assert 1e-4 < sum(kept) / len(kept) < 0.1


async def _no_new_request_meets_a_prefix_of_the_old_weights(house: House) -> None:
    prompt = prompts(1)[0] * 8  # several cache blocks
    first, sibling = house.begin([prompt, prompt], 100)
    await house.has_sampled(20)
    await house.engine.pause_generation()
    await first
    await sibling
    await house.update(1e-2)
    await house.engine.resume_generation()
    new = await house.visit("new", prompt, 20)
    again = await house.visit("again", prompt, 20)
    scored = await house.scored(prompt, new.tokens)
    assert house.engine.num_kept == 2  # their blocks are why the cache could not be reset
    assert new.cached_tokens == 0
    assert again.cached_tokens > 0
    assert max(abs(a - b) for a, b in zip(new.logps, scored, strict=True)) < EXACT
    await house.engine.drop_kept()


async def _a_stopped_engine_samples_nothing(house: House) -> None:
    task = house.begin([prompts(1)[0]], 200)[0]
    await house.has_sampled(20)
    await house.engine.pause_generation()
    before = house.stats.facts()
    answer = await task
    await asyncio.sleep(0.3)
    after = house.stats.facts()
    assert answer.reason == "abort"
    assert after["generated_tokens"] == before["generated_tokens"]
    assert 0 < after["kv_cache_use"] < 1
    await house.engine.resume_generation()
    rest = await house.visit("0", prompts(1)[0] + answer.tokens, 200 - len(answer.tokens))
    assert len(answer.tokens) + len(rest.tokens) == 200


async def _a_killed_core_is_an_error(house: House) -> None:
    cores = house.engine.engine_core.resources.engine_manager.processes
    assert not house.engine.errored
    os.kill(cores[0].pid, signal.SIGKILL)
    for _ in range(100):
        if house.engine.errored:
            break
        await asyncio.sleep(0.1)
    assert house.engine.errored
