import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from copris_core.report.progress import PACE_STEPS, Phase, ProgressState
from copris_core.report.progress_view import ProgressView, plain_line, render
from copris_core.report.run_folder import Row

MakeRows = Callable[..., list[Row]]


def _step(step: int, *, seconds: float = 2.0) -> Row:
    return {
        "step": step,
        "time_s": 10.0 + step,
        "timing_s/step": seconds,
        "timing_s/generate": 1.5,
        "reward/mean": 0.1 * step,
        "rollout/in_flight": 63.5,
        "rollout/limit": 64,
    }


def _plain(title: str = "grpo", total_steps: int = 3) -> tuple[ProgressView, io.StringIO]:
    out = io.StringIO()
    return ProgressView(title, total_steps=total_steps, console=Console(file=out)), out


def test_the_state_follows_the_rows() -> None:
    start = ProgressState(total_steps=5)
    state = start.advance([{"step": 0, "time_s": 9.0, "val/accuracy": 0.2}, _step(1), _step(2)])
    assert (state.step, state.elapsed_s, state.accuracy, state.limit) == (2, 12.0, 0.2, 64)
    assert state.reward == pytest.approx(0.2)
    assert state.phases is not None
    assert (state.phases.generate, state.phases.update) == (1.5, None)
    assert state.eta_s == pytest.approx(2.0 * 3)
    assert start == ProgressState(total_steps=5)


@given(st.integers(0, 6))
def test_it_does_not_matter_how_the_rows_are_handed_over(cut: int) -> None:
    rows = [_step(i, seconds=i) for i in range(1, 7)]
    start = ProgressState(total_steps=9)
    assert start.advance(rows[:cut]).advance(rows[cut:]) == start.advance(rows)


def test_a_validation_row_of_its_own_moves_only_the_accuracy() -> None:
    state = ProgressState(total_steps=5).advance([_step(1)])
    after = state.advance([{"step": 1, "time_s": 12.0, "val/accuracy": 0.4, "val/n": 10}])
    assert (after.accuracy, after.elapsed_s, after.reward) == (0.4, 12.0, state.reward)
    assert after.recent_s == state.recent_s


def test_the_time_left_comes_from_the_median_of_recent_steps() -> None:
    slow_start = [_step(i, seconds=99.0) for i in range(1, 6)]
    steady = [_step(i, seconds=2.0) for i in range(6, 6 + PACE_STEPS)]
    steady[-1]["timing_s/step"] = 50.0
    state = ProgressState(total_steps=20).advance([*slow_start, *steady])
    assert len(state.recent_s) == PACE_STEPS
    assert state.eta_s == pytest.approx(2.0 * 5)
    assert ProgressState(total_steps=3).eta_s is None


def test_without_a_terminal_there_is_one_line_a_step() -> None:
    view, out = _plain()
    with view:
        view.phase("starting Ray")
        view.phase("starting Ray")
        view.phase("loading engine")
        for step in (1, 2, 3):
            view.phase("generating", step=step)
            view.update([_step(step)])
    lines = out.getvalue().splitlines()
    assert lines[:2] == ["grpo: starting Ray", "grpo: loading engine"]
    assert [x.split("  ")[0] for x in lines[2:]] == [f"grpo: step {i}/3" for i in (1, 2, 3)]
    assert "in flight 63.5/64" in lines[2]
    assert "last step 2.0s (generate 1.5s)" in lines[2]
    assert lines[2].endswith("11s gone, 4.0s left")
    assert lines[4].endswith("13s gone, done")
    assert "\x1b" not in out.getvalue()


def test_what_no_row_told_is_a_hyphen() -> None:
    line = plain_line(ProgressState(total_steps=3).advance([{"step": 1, "time_s": 4.0, "x": 1}]))
    assert line == (
        "step 1/3  reward -  accuracy -  in flight -/-  last step - (-)  4.0s gone, - left"
    )


def test_a_title_is_never_read_as_markup() -> None:
    view, out = _plain(title="[bold]x")
    view.phase("[red]starting")
    assert out.getvalue() == "[bold]x: [red]starting\n"


def test_a_terminal_shows_bar_numbers_and_phase_within_100_columns(make_rows: MakeRows) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    state = ProgressState(total_steps=40).advance(make_rows("copris", num_steps=17))
    phase = Phase(text="generating", step=18)
    console.print(render("copris_cppo", state, phase, phase_s=3.2, spinner="*"))
    head, numbers, seconds, now = out.getvalue().splitlines()
    assert "17/40" in head
    assert "left" in head
    assert numbers.startswith("reward 0.")
    assert "/64" in numbers
    assert seconds.startswith("last step ")
    assert now.split() == ["*", "step", "18:", "generating", "3.2s"]


def test_on_a_terminal_the_last_state_stays_and_the_phase_is_timed() -> None:
    now_s = [100.0]
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    with ProgressView("grpo", total_steps=2, console=console, clock=lambda: now_s[0]) as view:
        view.phase("generating", step=1)
        now_s[0] = 107.5
        view.update([_step(1), _step(2)])
    last = out.getvalue().rsplit("2/2", 1)[1]
    assert "done" in last
    assert "step 1: generating 7.5s" in last
