"""Every strategy is a supply and a limit of the real gate, and meets its limiting cases."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.lengths import EmpiricalLengths, LognormalLengths
from copris_core.simulator.simulation import Workload
from copris_core.simulator.step_result import StageResult
from copris_core.simulator.strategies import SUPPLIES, Strategy, simulation_of, sync

ENGINE = EngineModel(
    step_s=0.01,
    response_s=0.0005,
    prefill_token_s=0.0001,
    request_s=0.001,
    stop_s=0.25,
    kv_tokens=50_000,
    max_running=64,
    replicas=2,
)
WORKLOAD = Workload(
    lengths=LognormalLengths(median=30, sigma=1.0, cap=400),
    groups_per_stage=3,
    group_size=4,
    prompt_tokens=10,
    update_s=1.0,
)
BATCH = WORKLOAD.samples_per_stage
UNIFORM = dataclasses.replace(WORKLOAD, lengths=EmpiricalLengths(tokens=(50,)))
PARTIAL = [name for name in SUPPLIES if name != "sync"]


class Noting:
    """Draws the workload's lengths and writes them down."""

    def __init__(self) -> None:
        self.drawn: list[list[int]] = []

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        self.drawn.append(WORKLOAD.lengths.draw(rng, group_size))
        return self.drawn[-1]


def _run(
    strategy: Strategy,
    num_stages: int,
    *,
    engine: EngineModel = ENGINE,
    workload: Workload = WORKLOAD,
    seed: int = 0,
) -> list[StageResult]:
    return simulation_of(strategy, engine=engine, workload=workload, seed=seed).run(num_stages)


def _samples_per_s(results: list[StageResult]) -> float:
    return sum(each.trained for each in results) / sum(each.total_s for each in results)


def test_sync_draws_one_batch_samples_it_to_its_end_and_carries_nothing() -> None:
    simulation = simulation_of(sync(WORKLOAD), engine=ENGINE, workload=WORKLOAD, seed=0)
    for result in simulation.run(20):
        assert result.tokens == result.trained_tokens
        assert set(result.tokens_by_lag) == {0}
        assert (result.interrupted, result.stop_s) == (0, 0.0)
        assert (simulation.unfinished_tokens, simulation.carried_tokens) == (0, 0)


def test_an_infinite_limit_is_sync_when_nothing_is_carried() -> None:
    endless = Strategy(name="sync", concurrency=100_000)
    for theirs, ours in zip(_run(sync(WORKLOAD), 20), _run(endless, 20), strict=True):
        same = dataclasses.replace(ours, limit=theirs.limit, occupancy=theirs.occupancy)
        assert same == theirs
        assert ours.limit == 100_000


def test_sync_lasts_as_long_as_the_longest_of_its_batch() -> None:
    # A flat engine samples a token of everybody per step; prefilling is free.
    engine = dataclasses.replace(ENGINE, response_s=0.0, prefill_token_s=0.0, request_s=0.0)
    noting = Noting()
    workload = dataclasses.replace(WORKLOAD, lengths=noting)
    for stage, result in enumerate(_run(sync(workload), 10, engine=engine, workload=workload)):
        batch = noting.drawn[3 * stage : 3 * stage + 3]
        assert result.open_s == pytest.approx(0.01 * max(map(max, batch)))


@pytest.mark.parametrize("name", ["naive_partial", "copris"])
def test_a_pool_of_one_takes_the_sum_of_the_lengths(name: str) -> None:
    results = _run(Strategy(name=name, concurrency=1), 15)
    for result in results:
        assert result.interrupted == 0
    tokens = sum(each.tokens for each in results)
    finished = sum(each.finished for each in results)
    # every response is prefilled once, alone: 1 ms for the request and 10 tokens of 0.1 ms
    one_after_the_other = tokens * (0.01 + 0.0005) + finished * (0.001 + 10 * 0.0001)
    assert sum(each.open_s for each in results) == pytest.approx(one_after_the_other)


@pytest.mark.parametrize("flat_to", [0, 1000])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 1.0])
def test_equal_lengths_leave_partial_rollout_nothing_to_gain(share: float, flat_to: int) -> None:
    engine = dataclasses.replace(ENGINE, flat_to=flat_to)
    pool = Strategy(name="copris", concurrency=round(share * BATCH))
    partial = _run(pool, 60, engine=engine, workload=UNIFORM)
    whole = _run(sync(UNIFORM), 20, engine=engine, workload=UNIFORM)
    gain = _samples_per_s(partial) / _samples_per_s(whole)
    assert gain <= 1.0 + 1e-9
    if share == 1.0:  # then all it loses is the stop, and the prefill of who had just begun
        more_s = sum(each.stop_s + each.prefill_s for each in partial) / 60 - whole[0].prefill_s
        assert 1 / gain - 1 == pytest.approx(more_s / whole[0].total_s, rel=0.05, abs=1e-3)


def test_a_long_tail_is_what_partial_rollout_gains_on() -> None:
    whole = _samples_per_s(_run(sync(WORKLOAD), 100))
    pool = Strategy(name="copris", concurrency=BATCH)
    assert _samples_per_s(_run(pool, 120)[20:]) > 1.2 * whole


def test_only_copris_keeps_its_pool_full() -> None:
    full = {
        name: _run(Strategy(name=name, concurrency=2 * BATCH), 60)[10:]
        for name in ("naive_partial", "oversample", "copris")
    }
    means = {
        name: sum(each.in_flight * each.open_s for each in results)
        / sum(each.open_s for each in results)
        for name, results in full.items()
    }
    assert means["copris"] == pytest.approx(2 * BATCH, rel=0.01)
    assert means["oversample"] < means["naive_partial"] < 0.9 * means["copris"]


@settings(max_examples=15)
@given(
    name=st.sampled_from(PARTIAL),
    batches=st.sampled_from([1.5, 2.0, 3.0, 6.0]),
    max_lag=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_pacing_keeps_every_lag_within_its_bound(
    name: str, batches: float, max_lag: int, seed: int
) -> None:
    strategy = Strategy(name=name, concurrency=round(batches * BATCH), max_lag=max_lag)
    results = _run(strategy, 20, seed=seed)
    assert max(lag for each in results for lag in each.tokens_by_lag) <= max_lag


@pytest.mark.parametrize("name", SUPPLIES)
def test_no_strategy_loses_a_token_and_all_train_whole_batches(name: str) -> None:
    strategy = Strategy(name=name, concurrency=2 * BATCH)
    simulation = simulation_of(strategy, engine=ENGINE, workload=WORKLOAD, seed=1)
    results = simulation.run(25)
    trained = sum(each.trained_tokens for each in results)
    kept = simulation.unfinished_tokens + simulation.carried_tokens
    assert sum(each.tokens for each in results) == trained + kept
    assert {each.trained for each in results} == {BATCH}


def test_an_adaptive_limit_moves_and_keeps_its_cap() -> None:
    strategy = Strategy(name="copris_adaptive", concurrency=BATCH, staleness_cap=2.0)
    limits = [each.limit for each in _run(strategy, 60)]
    assert len(set(limits)) > 3
    assert max(limits) <= 2 * BATCH
    fixed = Strategy(name="copris", concurrency=BATCH)
    assert {each.limit for each in _run(fixed, 10)} == {BATCH}


def test_running_leaves_out_who_an_engine_keeps_waiting() -> None:
    engine = dataclasses.replace(ENGINE, max_running=4)
    results = _run(Strategy(name="copris", concurrency=20), 40, engine=engine)
    assert all(each.running <= 8 + 1e-9 for each in results)
    assert sum(each.running for each in results[5:]) / 35 == pytest.approx(8.0, abs=0.2)
    free = _run(Strategy(name="copris", concurrency=20), 40)
    assert all(each.running == pytest.approx(each.in_flight) for each in free)


def test_what_cannot_be_a_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="strategy async is unknown: use one of sync, naive"):
        Strategy(name="async", concurrency=8)
    with pytest.raises(ValueError, match="concurrency=0 samples nothing"):
        Strategy(name="copris", concurrency=0)
    with pytest.raises(ValueError, match="oversample with 12 in flight samples no more than"):
        simulation_of(
            Strategy(name="oversample", concurrency=BATCH),
            engine=ENGINE,
            workload=WORKLOAD,
            seed=0,
        )
