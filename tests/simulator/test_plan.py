"""The sweep, the knee, the choice under a cap, and the words; by hand where that is possible."""

import dataclasses
import functools
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest

from copris_core.simulator.advice import advise
from copris_core.simulator.engine import EngineModel
from copris_core.simulator.lengths import EmpiricalLengths, LognormalLengths, shape_of
from copris_core.simulator.plan import (
    Plan,
    Question,
    default_points,
    knee_of,
    make_plan,
    responses_that_fit,
)
from copris_core.simulator.prediction import Prediction, predict
from copris_core.simulator.simulation import Workload
from copris_core.simulator.strategies import Strategy, sync

pytestmark = pytest.mark.slow  # whole sweeps of the simulator

ENGINE = EngineModel(
    step_s=0.01,
    response_s=0.0002,
    prefill_token_s=0.00005,
    stop_s=0.05,
    kv_tokens=50_000,
    max_running=256,
)
WORKLOAD = Workload(
    lengths=LognormalLengths(median=30, sigma=1.0, cap=400),
    groups_per_stage=4,
    group_size=8,
    prompt_tokens=10,
    update_s=0.2,
    update_token_s=0.0001,
)
BATCH = WORKLOAD.samples_per_stage
UNIFORM = EmpiricalLengths(tokens=(50,))


def _question(**changes: Any) -> Question:
    """A small question; keys of the engine, the workload and the question itself."""
    parts = {"engine": ENGINE, "workload": WORKLOAD}
    for name, part in parts.items():
        own = {key: changes.pop(key) for key in list(changes) if hasattr(part, key)}
        parts[name] = dataclasses.replace(part, **own)
    return Question(**{**parts, "stages": 40, **changes})


def _words(plan: Plan) -> str:
    return "\n".join(advise(plan))


@functools.cache
def _usual_plan() -> Plan:
    return make_plan(_question())


def _predicted(
    strategy: Strategy, *, engine: EngineModel = ENGINE, workload: Workload = WORKLOAD
) -> Prediction:
    shape = shape_of(workload.lengths)
    return predict(strategy, engine=engine, workload=workload, shape=shape, seed=0, stages=60)


# ---- one prediction ----


def test_a_synchronous_step_of_equal_lengths_is_what_paper_and_pencil_say() -> None:
    workload = dataclasses.replace(WORKLOAD, lengths=UNIFORM)
    found = _predicted(sync(workload), workload=workload)
    # 50 steps of 10 ms + 32 x 0.2 ms; 32 prompts of 10 tokens at 0.05 ms; 0.2 s + 1600 x 0.1 ms
    assert found.decode_s == pytest.approx(50 * 0.0164)
    assert found.prefill_s == pytest.approx(32 * 10 * 0.00005)
    assert (found.stop_s, found.update_s) == (0.0, pytest.approx(0.36))
    assert found.step_s == pytest.approx(0.82 + 0.016 + 0.36)
    assert found.samples_per_s == pytest.approx(32 / 1.196)
    assert found.tokens_per_s == pytest.approx(1600 / 1.196)
    assert found.idle_generate == pytest.approx(0.0, abs=1e-9)
    assert (found.interruptions, found.lag_mean, found.lag_p95, found.lag_max) == (0, 0, 0, 0)
    assert found.token_share_by_lag == {0: 1.0}


def test_the_empty_slots_of_a_tail_are_counted() -> None:
    # Flat engine, one response of 90 and three of 10: slots run 90 + 3 x 10 of 4 x 90 steps.
    class OneLong:
        def draw(self, rng: object, group_size: int) -> list[int]:
            return [90, 10, 10, 10][:group_size]

    engine = dataclasses.replace(ENGINE, response_s=0.0, prefill_token_s=0.0)
    workload = dataclasses.replace(WORKLOAD, lengths=OneLong(), groups_per_stage=1, group_size=4)
    shape = shape_of(EmpiricalLengths(tokens=(90, 10, 10, 10)))
    found = predict(sync(workload), engine=engine, workload=workload, shape=shape, seed=0, stages=5)
    assert found.idle_generate == pytest.approx(1 - 120 / 360)
    generate_s = found.decode_s
    assert found.idle_step == pytest.approx((1 - 120 / 360) * generate_s / found.step_s)


def test_the_parts_of_a_step_are_the_step() -> None:
    for name in ("sync", "naive_partial", "oversample", "copris", "copris_adaptive"):
        concurrency = BATCH if name == "sync" else 2 * BATCH
        found = _predicted(Strategy(name=name, concurrency=concurrency, staleness_cap=3.0))
        assert sum(found.parts.values()) == pytest.approx(found.step_s)
        assert min(found.parts.values()) >= -1e-12
        assert sum(found.token_share_by_lag.values()) == pytest.approx(1.0)
        assert found.lag_mean <= found.lag_max
        assert list(found.token_share_by_lag) == sorted(found.token_share_by_lag)
        covered = sum(
            share for lag, share in found.token_share_by_lag.items() if lag <= found.lag_p95
        )
        below = sum(share for lag, share in found.token_share_by_lag.items() if lag < found.lag_p95)
        assert below < 0.95 <= covered + 1e-9


def test_interruptions_per_response_are_the_limit_over_the_batch() -> None:
    for batches in (1, 2, 3):
        found = _predicted(Strategy(name="copris", concurrency=batches * BATCH))
        assert found.interruptions == pytest.approx(batches, rel=0.12)


def test_a_prediction_has_settled() -> None:
    # Twice as many steps left out, twice as many counted: the same answer within chance.
    strategy = Strategy(name="copris", concurrency=3 * BATCH)
    shape = shape_of(WORKLOAD.lengths)
    kinds: dict[str, Any] = {"engine": ENGINE, "workload": WORKLOAD, "shape": shape, "seed": 4}
    short = predict(strategy, **kinds, stages=100)
    long = predict(strategy, **kinds, stages=400)
    assert short.step_s == pytest.approx(long.step_s, rel=0.03)
    assert short.lag_mean == pytest.approx(long.lag_mean, rel=0.1)
    # 3 batches of p99 / mean = 8 turnovers at most
    assert 3 * shape.p99 / shape.mean <= short.warm_up <= 3 * shape.p99 / shape.mean + 4


# ---- the sweep ----


def test_the_default_sweep_is_batches_as_far_as_they_fit() -> None:
    question = _question()
    assert default_points(question, 10_000) == (16, 24, 32, 40, 48, 64, 96, 128)
    assert default_points(question, 70) == (16, 24, 32, 40, 48, 64, 70)
    assert default_points(question, 64) == (16, 24, 32, 40, 48, 64)
    assert default_points(question, 10) == (10,)
    capped = _question(staleness_cap=1.1)
    assert default_points(capped, 10_000) == (16, 24, 32, 35, 40, 48, 64, 96, 128)


def test_what_fits_is_the_kv_cache_over_the_mean_tokens_of_who_is_in_flight() -> None:
    # prompt 10 and half of 50, for equal lengths are caught halfway: 35 tokens each; 2% stay free
    shape = shape_of(UNIFORM)
    engine = dataclasses.replace(ENGINE, kv_tokens=10_000, max_running=1000)
    assert responses_that_fit(engine, 10, shape) == int(9800 / 35)
    assert responses_that_fit(dataclasses.replace(engine, replicas=3), 10, shape) == 3 * 280
    assert responses_that_fit(dataclasses.replace(engine, max_running=64), 10, shape) == 64
    with pytest.raises(ValueError, match=r"a response of 50 tokens .* does not fit .* of 55"):
        responses_that_fit(dataclasses.replace(engine, kv_tokens=55), 10, shape)


def test_a_limit_above_the_kv_cache_is_refused_with_what_fits() -> None:
    question = _question(lengths=UNIFORM, kv_tokens=2000, concurrency=(32, 64))
    with pytest.raises(ValueError, match=r"N'=64 does not fit: 1 x 2,000 tokens .* hold 56 resp"):
        make_plan(question)
    fitting = make_plan(dataclasses.replace(question, concurrency=(32, 56), stages=4))
    assert [each.concurrency for each in fitting.of("copris")] == [32, 56]


def _prediction(concurrency: int, samples_per_s: float) -> Prediction:
    found = _predicted_once()
    return dataclasses.replace(found, concurrency=concurrency, samples_per_s=samples_per_s)


@functools.cache
def _predicted_once() -> Prediction:
    workload = dataclasses.replace(WORKLOAD, lengths=UNIFORM)
    shape = shape_of(UNIFORM)
    strategy = Strategy(name="copris", concurrency=32)
    return predict(strategy, engine=ENGINE, workload=workload, shape=shape, seed=0, stages=1)


@pytest.mark.parametrize(
    ("rates", "knee"),
    [
        ([1.0, 2.0, 2.95, 3.0, 2.99], 48),  # 2.95 is within 3% of 3.0
        ([1.0, 2.0, 2.90, 3.0, 2.99], 64),
        ([3.0, 2.0, 1.0, 1.0, 1.0], 16),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 96),
    ],
)
def test_the_knee_is_the_smallest_limit_near_the_best(rates: Sequence[float], knee: int) -> None:
    limits = (16, 32, 48, 64, 96)
    sweep = [_prediction(limit, rate) for limit, rate in zip(limits, rates, strict=True)]
    assert knee_of(sweep[::-1]).concurrency == knee


@pytest.mark.slow
def test_a_cap_bounds_the_choice_and_its_price_is_told() -> None:
    free = _usual_plan()
    capped = make_plan(_question(staleness_cap=0.75))
    assert capped.chosen.concurrency <= 24 < free.chosen.concurrency
    assert capped.knee.concurrency == free.knee.concurrency
    assert "The cap of 0.75 on the interruptions costs" in _words(capped)
    assert "The cap" not in _words(free)


def test_max_lag_holds_for_every_partial_strategy() -> None:
    plan = make_plan(_question(max_lag=1))
    assert {each.max_lag for each in plan.partial} == {1}
    assert max(each.lag_max for each in plan.partial) <= 1
    assert "max_lag=1 lets at most (K + 1) B = 8 groups be under way" in _words(plan)


def test_every_strategy_is_in_the_plan_at_every_limit_it_can_have() -> None:
    plan = make_plan(_question(concurrency=(16, 32, 64), stages=4))
    limits = {
        name: [each.concurrency for each in plan.of(name)]
        for name in ("sync", "naive_partial", "oversample", "copris")
    }
    assert limits == {
        "sync": [32],
        "naive_partial": [16, 32, 64],
        "oversample": [64],  # 32 is the batch itself
        "copris": [16, 32, 64],
    }
    (adaptive,) = plan.of("copris_adaptive")
    assert adaptive.concurrency <= 2 * BATCH


def test_the_same_question_has_the_same_answer_and_it_is_json() -> None:
    question = _question(concurrency=(32, 64), stages=6)
    first, second = (json.dumps(make_plan(question).to_json()) for _ in range(2))
    assert first == second
    content = json.loads(first)
    assert content["limit_of_gain"] == pytest.approx(
        1 / (1 - content["predictions"][0]["idle_step"])
    )
    assert content["predictions"][0]["gain"] == 1.0
    assert first != json.dumps(make_plan(dataclasses.replace(question, seed=1)).to_json())


# ---- the words ----


def test_on_a_long_tail_the_words_name_the_limit_and_what_it_buys() -> None:
    plan = _usual_plan()
    chosen, words = plan.chosen, advise(plan)
    assert plan.gain(chosen) > 1.3
    assert words[0].startswith(f"N'={chosen.concurrency}: {plan.gain(chosen):.2f}x sync (")
    assert f"{chosen.interruptions:.1f} interruptions a response" in words[0]
    assert any(each.startswith("The largest part of the step at N'=") for each in words)
    assert f"= {plan.limit_of_gain:.2f}x." in _words(plan)
    assert "oversample" in words[-1]


def test_where_nothing_is_gained_the_words_say_so_and_why() -> None:
    # equal lengths on a steep engine whose update is most of the step
    plan = make_plan(_question(lengths=UNIFORM, step_s=0.0005, response_s=0.0003, update_s=2.0))
    words = _words(plan)
    assert words.startswith("Partial rollout gains nothing here: ")
    assert "Stay with sync: the lengths are nearly equal" in words
    assert "the engine's cost curve is steep" in words
    assert "% of the step, and no N' shortens it" in words
    assert "The largest part of sync's step is update: " in words


def test_what_a_larger_batch_would_gain_too_is_not_put_down_to_the_tail() -> None:
    plan = make_plan(_question(lengths=UNIFORM, update_s=0.0, stop_s=0.0, response_s=0.0))
    assert plan.gain(plan.chosen) > 1.3
    assert "None of it comes from a tail: only 0% of sync's step" in _words(plan)
    assert "None of it" not in _words(_usual_plan())


def test_a_full_kv_cache_is_named() -> None:
    overfull = make_plan(_question(kv_tokens=5000, step_s=0.002))
    assert overfull.of("copris")[-1].concurrency == overfull.fits > overfull.knee.concurrency
    assert "nothing more is gained: the KV cache runs full: " in _words(overfull)
    plan = make_plan(_question(kv_tokens=2200))
    assert plan.fits == plan.knee.concurrency
    assert f"N'={plan.fits} is the most that the engines hold (" in _words(plan)


def test_the_end_of_the_sweep_is_not_taken_for_the_knee_of_the_curve() -> None:
    plan = make_plan(_question(concurrency=(8, 16)))
    assert "N'=16 is the largest looked at: more may gain more." in _words(plan)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"groups_per_stage": 0}, "at least one prompt"),
        ({"group_size": 0}, "at least one prompt"),
        ({"prompt_tokens": -1}, "a prompt of -1 tokens"),
        ({"max_lag": -1}, "max_lag=-1 is negative"),
        ({"stages": 0}, "stages=0 count nothing"),
        ({"staleness_cap": 0.1}, "allows fewer than 8 in flight: set it to 0.25 or more"),
        ({"staleness_cap": float("nan")}, "a cap of nan"),
    ],
)
def test_a_question_that_no_run_could_answer_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _question(**wrong)


# ---- how large, how fast ----


@pytest.mark.slow
def test_a_thousand_replicas_with_100_000_in_flight_are_simulated_within_a_minute() -> None:
    engine = EngineModel(
        step_s=0.012,
        response_s=0.00004,
        flat_to=64,
        prefill_token_s=0.00003,
        request_s=0.0005,
        stop_s=0.5,
        kv_tokens=600_000,
        max_running=512,
        replicas=1024,
    )
    workload = Workload(
        lengths=LognormalLengths(median=2000, sigma=0.9, cap=8192),
        groups_per_stage=4096,
        group_size=16,
        prompt_tokens=200,
        update_s=30.0,
        update_token_s=0.000_001,
    )
    strategy = Strategy(name="copris", concurrency=100_000)
    shape = shape_of(workload.lengths)
    began_s = time.process_time()
    found = predict(strategy, engine=engine, workload=workload, shape=shape, seed=0, stages=1)
    spent_s = time.process_time() - began_s
    print(f"{found.warm_up} + {found.stages} steps in {spent_s:.1f} s")
    assert found.in_flight == pytest.approx(100_000, rel=0.001)
    assert spent_s < 60
