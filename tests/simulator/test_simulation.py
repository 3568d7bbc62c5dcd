"""Whole steps through the real gate: nothing is lost, time adds up, and Little's law holds."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.concurrency import EngineFacts, FixedLimit, Limit, StageFacts
from copris_core.rollout.supply import BatchBound
from copris_core.simulator.engine import EngineModel
from copris_core.simulator.lengths import EmpiricalLengths, LognormalLengths
from copris_core.simulator.presets import CPU_2_CORES, GPU_ESTIMATE
from copris_core.simulator.simulation import Controller, Simulation, Workload

ENGINE = EngineModel(
    step_s=0.01,
    response_s=0.0005,
    prefill_token_s=0.0001,
    stop_s=0.25,
    kv_tokens=3000,
    max_running=64,
    replicas=2,
)
WORKLOAD = Workload(
    lengths=LognormalLengths(median=30, sigma=1.0, cap=400),
    groups_per_stage=3,
    group_size=4,
    prompt_tokens=10,
    update_s=1.0,
    update_token_s=0.001,
)


class Listener:
    """A fixed limit that writes down what it is told."""

    limit = 24

    def __init__(self) -> None:
        self.engine: list[EngineFacts] = []
        self.stages: list[StageFacts] = []

    def observe(self, facts: EngineFacts) -> None:
        self.engine.append(facts)

    def end_stage(self, facts: StageFacts) -> None:
        self.stages.append(facts)


def _simulation(
    *,
    limit: int | Limit = 24,
    engine: EngineModel = ENGINE,
    workload: Workload = WORKLOAD,
    seed: int = 0,
    noise: float = 0.0,
    controller: Controller | None = None,
) -> Simulation:
    gate = AdmissionGate(
        limit=FixedLimit(limit=limit) if isinstance(limit, int) else limit,
        groups_per_stage=workload.groups_per_stage,
        group_size=workload.group_size,
    )
    return Simulation(
        gate=gate,
        engine=engine,
        workload=workload,
        seed=seed,
        noise=noise,
        controller=controller,
        observe_every_s=0.1,
    )


@settings(max_examples=30)
@given(
    limit=st.integers(1, 80),
    kv_tokens=st.integers(200, 5000),
    noise=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 1000),
)
def test_tokens_and_seconds_add_up(limit: int, kv_tokens: int, noise: float, seed: int) -> None:
    engine = dataclasses.replace(ENGINE, kv_tokens=kv_tokens)
    sim = _simulation(limit=limit, engine=engine, noise=noise, seed=seed)
    results = sim.run(8)
    trained = sum(result.trained_tokens for result in results)
    sampled = sum(result.tokens for result in results)
    assert sampled == trained + sim.unfinished_tokens + sim.carried_tokens
    assert sim.now_s == pytest.approx(sum(result.total_s for result in results))
    for result in results:
        assert result.trained == WORKLOAD.samples_per_stage
        assert sum(result.tokens_by_lag.values()) == result.trained_tokens
        assert min(result.decode_s, result.prefill_s) >= -1e-9
        assert result.in_flight <= limit + 1e-9


def test_in_flight_never_exceeds_the_limit_and_reaches_it() -> None:
    listener = Listener()
    results = _simulation(limit=listener, controller=listener).run(20)
    assert max(facts.running + facts.waiting for facts in listener.engine) == listener.limit
    assert all(result.occupancy == pytest.approx(1.0, abs=0.02) for result in results)


def test_the_controller_hears_of_every_stage_and_of_the_engines_ten_times_a_second() -> None:
    listener = Listener()
    results = _simulation(limit=listener, controller=listener).run(10)
    assert listener.stages == [result.facts for result in results]
    open_s = sum(result.open_s for result in results)
    assert len(listener.engine) == pytest.approx(open_s / 0.1, abs=10)
    times = [facts.time_s for facts in listener.engine]
    assert times == sorted(times)
    counts = [facts.generated_tokens for facts in listener.engine]
    assert counts == sorted(counts)
    assert listener.stages[3].rest_s == pytest.approx(0.25 + results[3].update_s)


@pytest.mark.parametrize("limit", [6, 24, 60])
def test_interruptions_per_response_are_the_limit_over_the_batch(limit: int) -> None:
    # Little's law: a stage trains B n = 12 responses and interrupts all in flight but the slot of
    # the response that ended it, which is not filled again.
    results = _simulation(limit=limit).run(300)[60:]
    per_response = sum(r.trained_interruptions for r in results) / sum(r.trained for r in results)
    assert per_response == pytest.approx((limit - 1) / WORKLOAD.samples_per_stage, rel=0.06)


def test_equal_lengths_in_a_pool_of_one_batch_are_the_synchronous_loop() -> None:
    # 12 responses of 50 tokens, 6 on each replica: 50 steps of 10 + 6 x 0.5 ms
    workload = dataclasses.replace(
        WORKLOAD, lengths=EmpiricalLengths(tokens=(50,)), prompt_tokens=0
    )
    (only,) = _simulation(limit=12, workload=workload).run(1)
    assert only.open_s == pytest.approx(50 * 0.013)
    assert only.update_s == pytest.approx(1.0 + 600 * 0.001)
    assert (only.tokens, only.tokens_by_lag) == (600, {0: 600})


def test_a_pool_of_one_samples_one_response_after_the_other() -> None:
    workload = dataclasses.replace(WORKLOAD, lengths=EmpiricalLengths(tokens=(20,)))
    (only,) = _simulation(limit=1, workload=workload).run(1)
    assert only.open_s == pytest.approx(12 * (20 * 0.0105 + 10 * 0.0001))


def test_lags_count_versions_from_sampling_to_training() -> None:
    # 12 trained per stage, 1 in flight: a token is trained in its own stage or, where siblings of
    # its group came later, in the next; a large pool trains older ones
    small = _simulation(limit=1).run(40)[5:]
    assert {lag for result in small for lag in result.tokens_by_lag} <= {0, 1}
    large = _simulation(limit=60).run(60)[30:]
    lags = {lag for result in large for lag in result.tokens_by_lag}
    assert min(lags) == 0
    assert max(lags) >= 4


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    runs = [_simulation(seed=seed, noise=0.05).run(10) for seed in (7, 7, 8)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_noise_scales_the_seconds_of_a_stage_and_nothing_else() -> None:
    quiet = _simulation(limit=12).run(200)
    noisy = _simulation(limit=12, noise=0.08).run(200)
    logs = [math.log(r.open_s / r.tokens) for r in noisy]
    means = [math.log(r.open_s / r.tokens) for r in quiet]
    spread = math.dist(logs, [sum(logs) / 200] * 200) / math.sqrt(200)
    before = math.dist(means, [sum(means) / 200] * 200) / math.sqrt(200)
    assert math.sqrt(spread**2 - before**2) == pytest.approx(0.08, rel=0.25)
    assert all(r.stop_s == 0.25 for r in noisy)


def test_more_replicas_sample_more() -> None:
    rates = []
    for replicas in (1, 2, 4):
        engine = dataclasses.replace(ENGINE, replicas=replicas, kv_tokens=100_000)
        results = _simulation(limit=32, engine=engine).run(60)[20:]
        rates.append(sum(r.tokens for r in results) / sum(r.open_s for r in results))
    assert all(1.2 * fewer < more for fewer, more in itertools.pairwise(rates))


def test_partial_rollout_beats_waiting_for_all_on_a_long_tail() -> None:
    # Waiting for all: one batch of 32 is submitted, no slot is filled again, nothing is carried.
    engine, workload = CPU_2_CORES.engine, CPU_2_CORES.workload
    partial = _simulation(limit=64, engine=engine, workload=workload).run(80)[20:]
    whole = dataclasses.replace(workload, groups_per_stage=1, group_size=32)
    gate = AdmissionGate(
        limit=FixedLimit(limit=32), groups_per_stage=1, group_size=32, supply=BatchBound()
    )
    waiting = Simulation(gate=gate, engine=engine, workload=whole, seed=0).run(60)
    assert all(result.interrupted == 0 for result in waiting)
    partial_rate = sum(r.trained for r in partial) / sum(r.open_s for r in partial)
    waiting_rate = sum(r.trained for r in waiting) / sum(r.open_s for r in waiting)
    assert partial_rate > 1.8 * waiting_rate


def test_the_presets_say_which_of_them_is_an_estimate() -> None:
    assert (CPU_2_CORES.is_estimate, GPU_ESTIMATE.is_estimate) == (False, True)
    # 2.58 ms + 64 x 0.104 ms
    assert CPU_2_CORES.engine.decode_step_s(64) == pytest.approx(0.00924, rel=0.01)
    flat = GPU_ESTIMATE.engine
    assert flat.decode_step_s(1) == flat.decode_step_s(256) < flat.decode_step_s(257)


def test_padding_is_paid_for_the_longest_of_the_batch() -> None:
    workload = dataclasses.replace(WORKLOAD, update_token_s=0.0, update_padded_token_s=0.25)
    result = _simulation(workload=workload).run_stage()
    longest, rest = divmod(result.padded_tokens, workload.samples_per_stage)
    assert rest == 0
    assert result.trained_tokens / workload.samples_per_stage < longest <= 400
    assert result.update_s == pytest.approx(workload.update_s + 0.25 * result.padded_tokens)
