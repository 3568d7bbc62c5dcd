"""What rows of metrics.jsonl say of a run that goes on."""

import pytest

from copris_core.report.run_folder import Row
from copris_core.report.watch import WatchState, shares


def _step(step: int, time_s: float, **more: float | None) -> Row:
    return {"step": step, "time_s": time_s, "timing_s/step": 2.0, "run/total_steps": 20} | more


def _val(accuracy: float = 0.5) -> dict[str, float | None]:
    return {"val/accuracy": accuracy, "val/n": 16}


def test_without_rows_nothing_is_known_and_nothing_is_done():
    state = WatchState.of([])
    assert (state.step, state.total_steps, state.left_s, state.elapsed_s) == (0, None, None, None)
    assert not state.is_done


def test_the_validation_before_training_is_no_step():
    state = WatchState.of([{"step": 0, "time_s": 30.0, "run/total_steps": 20, **_val()}])
    assert (state.step, state.trained, state.total_steps) == (0, (), 20)
    assert state.validations == [(0, 0.5)]
    assert not state.is_done


def test_a_validation_that_a_resumed_run_writes_alone_joins_its_step():
    state = WatchState.of([_step(1, 5.0), {"step": 1, "time_s": 9.0, **_val(0.7)}])
    assert (len(state.trained), state.validations) == (1, [(1, 0.7)])


def test_a_repeated_step_counts_once_and_the_later_one_wins():
    state = WatchState.of([_step(1, 5.0), _step(2, 7.0, x=1.0), _step(2, 8.0, x=2.0)])
    assert (state.step, state.history("x")) == (2, [None, 2.0])


def test_a_run_is_done_at_its_last_step_and_not_before():
    rows = [_step(step, 2.0 * step) for step in range(1, 21)]
    assert not WatchState.of(rows[:-1]).is_done
    assert WatchState.of(rows).is_done


def test_a_run_that_says_no_length_is_never_done():
    state = WatchState.of([{"step": 3, "time_s": 1.0, "timing_s/step": 2.0}])
    assert (state.is_done, state.left_s) == (False, None)


def test_a_resumed_run_that_was_asked_for_more_steps_goes_on():
    rows = [_step(20, 40.0), _step(21, 42.0) | {"run/total_steps": 30}]
    assert (WatchState.of(rows).is_done, WatchState.of(rows).total_steps) == (False, 30)


def test_the_time_left_counts_steps_and_validations_apart():
    # Steps take 2 s, those with a validation 2 + 6 s: 5 of 20 are done, validated every 4.
    times = [2.0, 4.0, 6.0, 14.0, 16.0]
    rows = [_step(i, t, **(_val() if i == 4 else {})) for i, t in enumerate(times, start=1)]
    state = WatchState.of(rows)
    assert (state.step_s, state.validation_s) == (2.0, 6.0)
    assert state.left_s == 15 * 2.0 + 4 * 6.0  # validations of steps 8, 12, 16, 20


def test_the_pace_is_that_of_steps_without_a_validation_also_when_they_are_few():
    # Steps 3, 4 and 5 validate: 8 s each, step 2 takes 2 s.
    rows = [_step(i, t) for i, t in enumerate([2.0, 4.0, 12.0, 20.0, 28.0], start=1)]
    state = WatchState.of([*rows[:2], *(row | _val() for row in rows[2:])])
    assert (state.step_s, state.validation_s) == (2.0, 6.0)


def test_the_last_step_is_validated_also_when_it_is_not_due():
    rows = [_step(i, 2.0 * i + (6.0 if i > 5 else 0.0)) for i in range(1, 8)]
    for row in rows:
        row["run/total_steps"] = 22
    rows[5] |= _val()  # step 6, and no row of step 5 .. 6 validates: 8 s
    state = WatchState.of(rows)
    assert state.left_s == 15 * 2.0 + 3 * 6.0  # 12, 18 and 22


def test_a_restart_in_between_does_not_spoil_the_pace():
    rows = [_step(i, 2.0 * i + (300.0 if i > 4 else 0.0)) for i in range(1, 9)]
    assert WatchState.of(rows).step_s == 2.0


def test_the_first_step_is_judged_by_its_own_timer():
    assert WatchState.of([_step(1, 120.0)]).step_s == 2.0


def test_nan_is_told_from_what_was_never_measured():
    state = WatchState.of([_step(1, 5.0, loss=None)])
    assert (state.is_broken("loss"), state.is_broken("other")) == (True, False)
    assert state.now("loss") is None


def test_the_score_is_the_one_before_shaping_and_filtering():
    row = _step(1, 5.0, **{"reward/mean": 0.2, "filter/score_mean": 0.4})
    assert WatchState.of([row]).scores == [0.4]


def test_domains_are_told_when_there_are_several():
    one = {"val/math/accuracy": 0.5, "val/math/n": 4.0}
    two = one | {"val/code/accuracy": 0.25}
    assert WatchState.of([_step(1, 5.0, **_val(), **one)]).domains == {}
    assert WatchState.of([_step(1, 5.0, **_val(), **two)]).domains == {"math": 0.5, "code": 0.25}


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 3.0], [0.25, 0.75]), ([None, 2.0, -1.0], [0.0, 1.0, 0.0]), ([None, 0.0], [0.0, 0.0])],
)
def test_shares_are_parts_of_what_is_known(values, expected):
    assert shares(values) == expected
