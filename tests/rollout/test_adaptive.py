"""Each rule of the adaptive limit by itself, on an engine that is a formula."""

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.adaptive import (
    CUT_FACTOR,
    PATIENCE_STAGES,
    AdaptiveLimit,
    Phase,
    Reason,
)
from copris_core.rollout.concurrency import EngineFacts, StageFacts
from copris_core.rollout.engine_watch import KV_GROW_MARK

SAMPLES = 100  # B n
TOKENS = 10_000  # of a stage: 100 per response


def _controller(*, start: int = 64, **bounds: Any) -> AdaptiveLimit:
    return AdaptiveLimit(start=start, samples_per_stage=SAMPLES, **bounds)


def _stage(
    in_flight: float,
    *,
    step_s: float = 0.01,
    token_s: float = 0.0001,
    again_s: float = 0.00001,
    slowness: float = 1.0,
) -> StageFacts:
    """A steady stage of an engine whose curve is exact; what is cut is as long as the mean (r = 1).

    Cheapest N' = sqrt(step_s B n / again_s) = sqrt(0.01 x 100 / 0.00001) = 316.
    """
    again = TOKENS * in_flight / SAMPLES
    seconds = step_s * TOKENS / in_flight + token_s * TOKENS + again_s * again
    return StageFacts(
        open_s=slowness * seconds,
        finished=SAMPLES,
        tokens=TOKENS,
        prefilled_again=round(again),
        occupancy=1.0,
        in_flight=in_flight,
        rest_s=0.5,
        interrupted=round(in_flight),
    )


def _facts(time_s: float = 0.0, **changed: Any) -> EngineFacts:
    quiet = {"running": 64, "waiting": 0, "kv_cache_use": 0.3, "preemptions": 0}
    return EngineFacts(time_s=time_s, generated_tokens=0, **(quiet | changed))


def _run(controller: AdaptiveLimit, num_stages: int, **curve: float) -> list[int]:
    limits = []
    for _ in range(num_stages):
        controller.end_stage(_stage(controller.limit, **curve))
        limits.append(controller.limit)
    return limits


def _step_s(limit: float) -> float:
    """Seconds of the whole step."""
    return _stage(limit).open_s + 0.5


# ---- search and hold ----


def test_it_starts_where_it_is_told_and_says_so() -> None:
    controller = _controller(start=40)
    assert (controller.limit, controller.reason, controller.phase) == (40, "start", Phase.STARTING)
    assert controller.metrics() == {"rollout/limit": 40, "rollout/limit_reason": 0}


@pytest.mark.parametrize("start", [4, 40, 316, 2528])
def test_without_noise_it_ends_within_two_percent_of_the_cheapest_step(start: int) -> None:
    controller = _controller(start=start)
    limits = _run(controller, 40)
    assert _step_s(controller.limit) <= 1.02 * _step_s(316)
    assert controller.limit < 316  # of all that cost nearly the same, a small one
    assert len(set(limits[15:])) == 1
    assert (controller.phase, controller.reason) == (Phase.HOLDING, "hold")


def test_no_stage_changes_the_limit_by_more_than_a_factor_of_two() -> None:
    limits = [10, *_run(_controller(start=10), 20)]
    assert all(b <= 2 * a and 2 * b >= a for a, b in itertools.pairwise(limits))
    assert limits[:4] == [10, 20, 40, 80]


def test_it_neither_starts_nor_grows_fast_beyond_four_interruptions_per_response() -> None:
    assert _controller(start=5000).limit == 4 * SAMPLES
    limits = _run(_controller(start=350), 30, step_s=1.0)  # 3162 would be the cheapest
    beyond = [b / a for a, b in itertools.pairwise(limits) if b > 4 * SAMPLES]
    assert limits[-1] > 1000
    assert max(beyond) <= 1.26


def test_growing_and_shrinking_are_named() -> None:
    controller = _controller(start=10)
    _run(controller, 1)
    assert controller.reason == "grow"
    controller = _controller(start=300)  # 3 interruptions per response: down first
    _run(controller, 1)
    assert (controller.limit, controller.reason) == (150, "shrink")


def test_the_first_stage_is_no_measure() -> None:
    controller = _controller(start=100)
    controller.end_stage(_stage(100, slowness=50.0))
    other = _controller(start=100)
    other.end_stage(_stage(100))
    assert _run(controller, 20) == _run(other, 20)


def test_a_stage_that_sampled_nothing_teaches_nothing() -> None:
    controller = _controller()
    _run(controller, 3)
    before = controller.state_dict()
    controller.end_stage(
        StageFacts(
            open_s=0.0,
            finished=0,
            tokens=0,
            prefilled_again=0,
            occupancy=0.0,
            in_flight=0.0,
            rest_s=1.0,
            interrupted=0,
        )
    )
    assert controller.state_dict() == before


def test_a_held_limit_outlives_two_bad_stages() -> None:
    controller = _controller()
    held = _run(controller, 30)[-1]
    for _ in range(PATIENCE_STAGES - 1):
        controller.end_stage(_stage(held, slowness=3.0))
        assert controller.limit == held


def test_a_machine_that_slows_down_for_every_limit_alike_moves_nothing() -> None:
    controller = _controller()
    held = _run(controller, 30)[-1]
    for stage in range(60):
        controller.end_stage(_stage(controller.limit, slowness=1.0 + 0.002 * stage))
    assert controller.limit == held


def test_an_engine_that_changes_its_nature_is_searched_again() -> None:
    controller = _controller()
    held = _run(controller, 30)[-1]
    phases = set()
    for _ in range(80):  # a step now costs 16 times as much: 4 times as many in flight are cheapest
        controller.end_stage(_stage(controller.limit, step_s=0.16))
        phases.add(controller.phase)
    assert Phase.SEARCHING in phases
    assert controller.limit > 2 * held


# ---- bounds ----


def test_the_staleness_cap_holds_and_is_given_as_the_reason() -> None:
    controller = _controller(start=50, max_interruptions=1.0)
    limits = _run(controller, 20)
    assert max(limits) == controller.limit == 100
    assert _controller(start=5000, max_interruptions=1.0).limit == 100
    reasons = set()
    for _ in range(PATIENCE_STAGES):
        controller.end_stage(_stage(controller.limit))
        reasons.add(controller.reason)
    assert reasons <= {"staleness_cap", "hold"}


def test_the_floor_holds() -> None:
    # nothing is gained by a batch: the smallest is the best
    limits = _run(_controller(start=64, floor=8), 30, step_s=0.0, again_s=0.001)
    assert min(limits) == limits[-1] == 8


@given(
    start=st.integers(1, 10_000),
    floor=st.integers(1, 50),
    interruptions=st.one_of(st.none(), st.floats(0.5, 20)),
    stages=st.lists(
        st.tuples(st.floats(0.2, 5), st.floats(0, 1), st.integers(0, 50), st.integers(0, 200)),
        max_size=40,
    ),
)
def test_whatever_happens_the_limit_stays_within_its_bounds(
    start: int,
    floor: int,
    interruptions: float | None,
    stages: list[tuple[float, float, int, int]],
) -> None:
    controller = _controller(start=start, floor=floor, max_interruptions=interruptions)
    cap = math.inf if interruptions is None else interruptions * SAMPLES
    preemptions = 0
    for number, (slowness, kv, preempted, waiting) in enumerate(stages):
        preemptions += preempted
        for look in range(3):
            controller.observe(
                _facts(
                    number + look / 4,
                    running=controller.limit,
                    kv_cache_use=kv,
                    preemptions=preemptions,
                    waiting=waiting,
                )
            )
            assert floor <= controller.limit <= cap
        controller.end_stage(_stage(controller.limit, slowness=slowness))
        assert floor <= controller.limit <= cap
        assert Reason(int(controller.metrics()["rollout/limit_reason"])) in Reason


# ---- memory ----


def test_a_nearly_full_cache_cuts_within_the_stage() -> None:
    controller = _controller(start=200)
    controller.observe(_facts(running=200, kv_cache_use=0.98))
    assert (controller.limit, controller.reason) == (math.floor(CUT_FACTOR * 200), "cut")


def test_preemptions_cut_and_a_single_one_among_hundreds_does_not() -> None:
    controller = _controller(start=200)
    controller.observe(_facts(0.0, running=200, preemptions=7))  # counted before we came
    controller.observe(_facts(1.0, running=200, preemptions=9))
    assert controller.limit == 200
    controller.observe(_facts(2.0, running=200, preemptions=10))  # 3 of 200 is more than 1%
    assert (controller.limit, controller.reason) == (170, "cut")


def test_a_cut_waits_until_the_last_one_has_shown() -> None:
    controller = _controller(start=200)
    controller.observe(_facts(0.0, running=200, kv_cache_use=0.98))
    controller.observe(_facts(1.0, running=190, kv_cache_use=0.99))
    assert controller.limit == 170
    controller.observe(_facts(2.0, running=170, kv_cache_use=0.99))
    assert controller.limit == math.floor(CUT_FACTOR * 170)


def test_a_held_limit_is_cut_once_a_stage() -> None:
    controller = _controller()
    held = _run(controller, 30)[-1]
    for look in range(4):
        controller.observe(_facts(look, running=10, kv_cache_use=0.99))
    assert controller.limit == 8
    assert held > 8
    _run(controller, 1)
    controller.observe(_facts(9.0, running=5, kv_cache_use=0.99))
    assert controller.limit == 4


def test_a_stage_with_a_cut_is_no_measure_of_the_curve() -> None:
    controller = _controller()
    _run(controller, 4)
    before = controller.state_dict()["curve"]
    controller.observe(_facts(running=controller.limit, kv_cache_use=0.99))
    controller.end_stage(_stage(60.0, slowness=9.0))
    assert controller.state_dict()["curve"] == before


def test_it_does_not_grow_to_where_the_cache_would_pass_its_mark() -> None:
    # every response takes 1/200 of the cache, and 316 would be the cheapest
    controller = _controller(start=20)
    reasons = []
    for stage in range(30):
        kv = min(1.0, controller.limit / 200)
        controller.observe(_facts(stage, running=controller.limit, kv_cache_use=kv))
        controller.end_stage(_stage(controller.limit))
        reasons.append(controller.reason)
    assert controller.limit == pytest.approx(KV_GROW_MARK * 200, abs=1)
    assert "cut" not in reasons
    assert "memory_cap" in reasons


def test_restarted_engines_count_from_zero_again() -> None:
    controller = _controller(start=200)
    controller.observe(_facts(0.0, running=200, preemptions=500))
    controller.observe(_facts(1.0, running=200, preemptions=0))
    controller.observe(_facts(2.0, running=200, preemptions=1))
    assert controller.limit == 200
    controller.observe(_facts(3.0, running=200, preemptions=3))
    assert controller.limit == 170


# ---- the engines' own queue ----


def _queueing(controller: AdaptiveLimit, num_looks: int, *, of: int = 4, begin_s: float) -> None:
    for look in range(of):
        waiting = 100 if look < num_looks else 0
        controller.observe(_facts(begin_s + look, running=64, waiting=waiting))


def test_a_sustained_queue_trims_to_what_runs_and_caps_there() -> None:
    controller = _controller(start=164)
    _queueing(controller, 3, begin_s=0.0)
    _run(controller, 1)
    assert (controller.limit, controller.reason) == (64, "trim")
    assert max(_run(controller, 30)) == 64  # 316 would be cheaper, but the engines run 64
    assert _with_reason(controller, "queue_cap")


def test_a_queue_in_half_of_the_reports_is_none() -> None:
    controller = _controller(start=164)
    _queueing(controller, 2, begin_s=0.0)
    _run(controller, 1)
    assert controller.reason != "trim"


def test_two_reports_are_too_few_to_judge_a_queue() -> None:
    controller = _controller(start=164)
    _queueing(controller, 2, of=2, begin_s=0.0)
    _run(controller, 1)
    assert controller.reason != "trim"


def _with_reason(controller: AdaptiveLimit, reason: str) -> bool:
    seen = set()
    for _ in range(2 * PATIENCE_STAGES):
        _run(controller, 1)
        seen.add(controller.reason)
    return reason in seen


# ---- across a restart, and what is refused ----


@pytest.mark.parametrize("num_stages", [0, 1, 2, 5, 9, 25])
def test_a_restored_controller_goes_on_as_the_first_would(num_stages: int) -> None:
    first = _controller(start=20)
    first.observe(_facts(running=20, kv_cache_use=0.2))
    _run(first, num_stages)
    state = json.loads(json.dumps(first.state_dict(), allow_nan=False))
    second = _controller(start=999)
    second.load_state_dict(state)
    assert second.state_dict() == first.state_dict()
    assert second.metrics() == first.metrics()
    assert _run(second, 20) == _run(first, 20)


def test_a_tighter_cap_holds_at_once_after_a_restart() -> None:
    first = _controller()
    assert _run(first, 30)[-1] > 100
    second = _controller(max_interruptions=1.0)
    second.load_state_dict(first.state_dict())
    assert second.limit == 100


def test_a_state_with_a_part_missing_changes_nothing() -> None:
    controller = _controller()
    _run(controller, 8)
    before = controller.state_dict()
    for part in before:
        broken = {**_controller(start=7).state_dict()}
        del broken[part]
        with pytest.raises(KeyError, match=part):
            controller.load_state_dict(broken)
    assert controller.state_dict() == before


@pytest.mark.parametrize("wrong", [{"start": 0}, {"floor": 0}, {"samples_per_stage": 0}])
def test_a_bound_below_one_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="each must be >= 1"):
        AdaptiveLimit(**({"start": 8, "samples_per_stage": 32} | wrong))


@pytest.mark.parametrize("cap", [0.05, 0.0, -1.0, math.nan])
def test_a_cap_below_the_floor_is_refused(cap: float) -> None:
    with pytest.raises(ValueError, match="fewer than the floor of 8; raise it"):
        _controller(floor=8, max_interruptions=cap)


def test_a_report_from_the_past_is_refused() -> None:
    controller = _controller()
    controller.observe(_facts(5.0))
    with pytest.raises(ValueError, match="came after one of 5"):
        controller.observe(_facts(4.0, kv_cache_use=1.0))
    assert controller.limit == 64


@pytest.mark.parametrize(
    "wrong", [{"running": -1}, {"waiting": -1}, {"preemptions": -1}, {"kv_cache_use": 1.1}]
)
def test_reports_that_no_engine_can_mean_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"below zero|share of"):
        _facts(**wrong)


def test_a_stage_of_less_than_nothing_is_refused() -> None:
    for wrong in ({"tokens": -1}, {"open_s": -0.1}, {"rest_s": math.nan}, {"in_flight": math.inf}):
        whole = {
            "open_s": 1.0,
            "finished": 1,
            "tokens": 1,
            "prefilled_again": 0,
            "occupancy": 1.0,
            "in_flight": 1.0,
            "rest_s": 0.0,
            "interrupted": 0,
        }
        with pytest.raises(ValueError, match="less than nothing"):
            StageFacts(**(whole | wrong))  # type: ignore[arg-type]
