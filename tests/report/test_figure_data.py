"""The numbers that the pictures show, followed by hand."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.losses.importance import LAG_BUCKETS
from copris_core.report.compared import RunData
from copris_core.report.figure_data import (
    LAGS,
    MOST_POINTS,
    PIECES,
    Spread,
    along_seconds,
    along_steps,
    clip_fraction,
    course,
    key,
    lag_shares,
    spread,
    step_pieces,
)
from copris_core.report.run_folder import Row
from tests.report.compare_house import method_of, run_of

REWARD = key("reward/mean")


def _run(rows: Sequence[Row]) -> RunData:
    return replace(run_of(), rows=rows)


def test_the_lags_are_those_that_the_losses_tell_apart() -> None:
    assert LAGS == LAG_BUCKETS


def test_a_line_is_the_mean_of_the_seeds_and_knows_their_range() -> None:
    method = method_of(
        "grpo",
        run_of(seed=0, rewards=(0.1, 0.2, 0.6, 0.8)),
        run_of(seed=1, rewards=(0.3, 0.2, 0.2, 0.4)),
    )
    line = along_steps(method, REWARD)
    assert line is not None
    assert line.x == (1, 2, 3, 4)
    assert line.mean == pytest.approx((0.2, 0.2, 0.4, 0.6))
    assert line.low == pytest.approx((0.1, 0.2, 0.2, 0.4))
    assert line.high == pytest.approx((0.3, 0.2, 0.6, 0.8))
    assert line.num_seeds == 2


def test_a_line_ends_where_its_shortest_seed_ends() -> None:
    short = run_of(seed=1, seconds=(10.0, 10.0), rewards=(0.5, 0.5))
    line = along_steps(method_of("grpo", run_of(), short), REWARD)
    assert line is not None
    assert line.x == (1, 2)


def test_a_long_run_is_shown_by_evenly_spread_points_the_ends_among_them() -> None:
    steps = 5 * MOST_POINTS
    line = along_steps(method_of("grpo", run_of(seconds=[1.0] * steps)), key("step"))
    assert line is not None
    assert len(line.x) == len(line.mean) == MOST_POINTS
    assert (line.x[0], line.x[-1]) == (0, steps)
    assert line.mean == line.x
    gaps = [right - left for left, right in pairwise(line.x)]
    assert max(gaps) - min(gaps) <= 1


def test_a_seed_that_did_not_measure_takes_no_part() -> None:
    mute = _run([{"step": 1, "timing_s/step": 1.0}])
    line = along_steps(method_of("grpo", run_of(), mute), REWARD)
    assert line is not None
    assert line.num_seeds == 1
    assert along_steps(method_of("grpo", mute), REWARD) is None
    assert along_seconds(method_of("grpo", mute), REWARD) is None


def test_seeds_that_share_no_step_have_no_line() -> None:
    apart = [_run([{"step": 1, "reward/mean": 0.1}]), _run([{"step": 2, "reward/mean": 0.1}])]
    assert along_steps(method_of("grpo", *apart), REWARD) is None


def test_smoothing_is_the_mean_of_the_steps_up_to_the_one_shown() -> None:
    points = course(run_of(rewards=(0.0, 0.3, 0.6, 0.9)), REWARD, window=3)
    # 0 / 1, 0.3 / 2, 0.9 / 3, 1.8 / 3
    assert [point.value for point in points] == pytest.approx([0.0, 0.15, 0.3, 0.6])


def test_training_seconds_leave_start_up_and_validation_out() -> None:
    method = method_of("grpo", run_of(seconds=(2.0, 3.0), validations={0: 0.1, 2: 0.9}))
    line = along_seconds(method, key("val/accuracy"))
    assert line is not None
    assert line.x == (0, 5)  # time_s of these rows is 5 and 10
    assert line.mean == pytest.approx((0.1, 0.9))


def test_seeds_of_different_pace_meet_on_one_scale_of_seconds() -> None:
    fast = run_of(seed=0, seconds=(1.0, 1.0, 1.0), rewards=(0.0, 0.1, 0.2))
    slow = run_of(seed=1, seconds=(2.0, 2.0), rewards=(0.4, 0.8))
    line = along_seconds(method_of("grpo", fast, slow), REWARD)
    assert line is not None
    # Both have measured from 2 s (the slow one's first) to 3 s (the fast one's last), and the slow
    # one has two points. At 2 s: 0.1 and 0.4; at 3 s: 0.2, and 0.6, half-way from 0.4 to 0.8.
    assert line.x == pytest.approx((2, 3))
    assert line.low == pytest.approx((0.1, 0.2))
    assert line.high == pytest.approx((0.4, 0.6))


def test_seeds_that_never_trained_at_the_same_time_have_no_line() -> None:
    early = run_of(seed=0, seconds=(1.0,), rewards=(0.5,), validations={})
    late = run_of(seed=1, seconds=(9.0,), rewards=(0.5,), validations={})
    assert along_seconds(method_of("grpo", early, late), REWARD) is None


def test_an_untimed_step_ends_the_scale_of_seconds() -> None:
    rows: list[Row] = [
        {"step": 1, "timing_s/step": 2.0, "reward/mean": 0.1},
        {"step": 2, "reward/mean": 0.2},
        {"step": 3, "timing_s/step": 2.0, "reward/mean": 0.3},
    ]
    assert [point.seconds for point in course(_run(rows), REWARD)] == [2.0, None, None]
    line = along_seconds(method_of("grpo", _run(rows)), REWARD)
    assert line is not None
    assert line.x == (2.0,)


def test_the_first_name_that_a_step_knows_is_read() -> None:
    pick = key("update/entropy", "prorl/entropy")
    assert pick({"update/entropy": None, "prorl/entropy": 0.2}) == 0.2
    assert pick({"update/entropy": 0.1, "prorl/entropy": 0.2}) == 0.1
    assert pick({"step": 1}) is None


def test_clipping_of_several_lags_is_weighted_by_their_tokens() -> None:
    row: Row = {
        "lag2/clip_fraction": 0.1,
        "lag2/token_fraction": 0.3,
        "lag3/clip_fraction": 0.5,
        "lag3/token_fraction": 0.1,
    }
    # (0.1 * 0.3 + 0.5 * 0.1) / 0.4 = 0.08 / 0.4
    assert clip_fraction((2, 3))(row) == pytest.approx(0.2)
    assert clip_fraction((0,))(row) is None


def test_the_share_of_a_lag_is_weighted_by_the_tokens_of_the_steps() -> None:
    rows: list[Row] = [
        {"step": 1, "tokens/trained": 300, "lag0/token_fraction": 1.0},
        {
            "step": 2,
            "tokens/trained": 100,
            "lag0/token_fraction": 0.2,
            "lag1/token_fraction": 0.8,
        },
    ]
    # (300 * 1 + 100 * 0.2) / 400 = 0.8 and 100 * 0.8 / 400 = 0.2
    assert lag_shares(_run(rows)) == pytest.approx((0.8, 0.2, 0.0, 0.0))
    assert lag_shares(_run([{"step": 1, "tokens/trained": 300}])) is None


def test_a_spread_leaves_out_what_was_not_measured() -> None:
    assert spread([1.0, None, 4.0]) == Spread(mean=2.5, low=1.0, high=4.0)
    assert spread([None]) is None


def _step(generate_s: float, **more: float) -> Row:
    return {
        "step": 1,
        "timing_s/step": generate_s + 3.0,
        "timing_s/generate": generate_s,
        "timing_s/update": 2.0,
        "timing_s/other": 1.0,
        **more,
    }


def test_generation_is_split_by_how_long_the_gate_was_open_and_how_full() -> None:
    row = _step(10.0, **{"rollout/open_s": 8.0, "rollout/occupancy": 0.75})
    pieces = step_pieces(_run([row]))
    assert pieces is not None
    assert pieces["generate_full"] == pytest.approx(6.0)  # 8 * 0.75
    assert pieces["tail_bubble"] == pytest.approx(2.0)  # 8 * 0.25
    assert pieces["waiting"] == pytest.approx(2.0)  # 10 - 8
    assert pieces["unsplit"] == 0


def test_generation_without_a_measured_occupancy_is_not_split() -> None:
    pieces = step_pieces(_run([_step(10.0)]))
    assert pieces is not None
    assert pieces["unsplit"] == 10.0
    assert pieces["tail_bubble"] == 0


def test_a_gate_that_did_not_open_only_waited() -> None:
    pieces = step_pieces(_run([_step(10.0, **{"rollout/open_s": 0.0})]))
    assert pieces is not None
    assert pieces["waiting"] == 10.0


def test_validation_before_training_is_no_step() -> None:
    before: Row = {"step": 0, "timing_s/step": 100.0}
    pieces = step_pieces(_run([before, _step(10.0)]))
    assert pieces is not None
    assert sum(pieces.values()) == pytest.approx(13.0)
    assert step_pieces(_run([before])) is None


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 50),
            st.none() | st.floats(0, 60),
            st.none() | st.floats(0, 1.2),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_pieces_of_a_step_are_the_step(
    steps: list[tuple[float, float | None, float | None]],
) -> None:
    rows = []
    for generate_s, open_s, occupancy in steps:
        more = {"rollout/open_s": open_s, "rollout/occupancy": occupancy}
        rows.append(_step(generate_s, **{k: v for k, v in more.items() if v is not None}))
    pieces = step_pieces(_run(rows))
    assert pieces is not None
    assert set(pieces) == {name for name, _ in PIECES}
    assert min(pieces.values()) >= 0
    assert sum(pieces.values()) == pytest.approx(sum(x + 3.0 for x, _, _ in steps) / len(steps))
