"""What `copris watch` shows: how many lines, how wide, and which numbers."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from copris_core.report.run_folder import Row
from copris_core.report.watch import WatchState
from copris_core.report.watch_marks import ASCII, UNICODE, bar, history, marks_for, widths
from copris_core.report.watch_view import BAD, WARN, Shown, plain_line, render

FULL: Row = {
    "step": 7,
    "time_s": 300.0,
    "run/total_steps": 20,
    "run/max_logprob_gap": 0.05,
    "reward/mean": 0.3,
    "reward/score_mean": 0.4,
    "reward/truncated_fraction": 0.03,
    "length/drawn_mean": 812.4,
    "length/drawn_p50": 700.0,
    "length/drawn_p99": 4001.0,
    "update/entropy": 0.31,
    "update/grad_norm": 1.25,
    "update/clip_fraction": 0.02,
    "update/behaviour_kl": 1e-3,
    "prorl/kl_divergence": 4e-4,
    "prorl/kl_coefficient": 0.009,
    "prorl/reset_count": 4,
    "prorl/steps_since_reset": 2,
    "rollout/in_flight": 50.7,
    "rollout/limit": 64,
    "rollout/interrupted": 38,
    "rollout/unfinished": 54,
    "rollout/carried_groups": 7,
    "samples/finished": 94,
    "samples/trained": 16,
    "filter/groups_filtered": 2,
    "tokens/generated": 3000,
    "staleness/lag_mean": 0.83,
    "staleness/lag_max": 3,
    "staleness/on_policy_token_fraction": 0.17,
    "staleness/segments_per_sample": 1.44,
    "logprob_gap/mean": 3e-7,
    "logprob_gap/max": 2e-6,
    "timing_s/generate": 6.0,
    "timing_s/old_log_prob": 0.0,
    "timing_s/ref": 1.0,
    "timing_s/update": 2.0,
    "timing_s/weight_sync": 0.5,
    "timing_s/other": 0.5,
    "timing_s/step": 10.0,
    "val/accuracy": 0.9375,
    "val/math/accuracy": 0.9,
    "val/code/accuracy": 0.8,
}


def _rows(num: int = 7, **changes: float | None) -> list[Row]:
    first: Row = {"step": 0, "time_s": 40.0, "run/total_steps": 20, "val/accuracy": 0.25}
    rows = [FULL | {"step": i, "time_s": 40.0 + 10.0 * i} for i in range(1, num + 1)]
    rows[-1] |= changes
    return [first, *rows]


def _shown(**changes: object) -> Shown:
    told = {"title": "copris 20261121-153800", "age_s": 3.0, "width": 80, "marks": UNICODE}
    return Shown(**(told | changes))


def _text(rows: list[Row], **changes: object) -> str:
    return "\n".join(line.plain for line in render(WatchState.of(rows), _shown(**changes)))


def _styles(rows: list[Row], label: str, **changes: object) -> list[str]:
    lines = render(WatchState.of(rows), _shown(**changes))
    (line,) = [each for each in lines if each.plain.startswith(label)]
    return [str(span.style) for span in line.spans]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("marks", [UNICODE, ASCII])
def test_the_whole_view_fits_24_lines_and_the_width(width, marks):
    lines = render(WatchState.of(_rows()), _shown(width=width, marks=marks))
    assert len(lines) <= 24
    assert max(line.cell_len for line in lines) <= width


def test_the_view_says_every_number_that_was_asked_for():
    text = _text(_rows())
    for told in (
        *("step 7/20  35%", "1m50s gone", "left", "last row 3.0s ago"),
        *("0.400", "after shaping 0.300, cut 3%", "0.938", "math 0.90, code 0.80"),
        *("812.4", "median 700, p99 4001", "0.310", "1.250", "clipped 2.00%"),
        *("4.0e-04", "coef. 0.009, 4 resets, last 2 steps ago"),
        *("50.7/64", "79% of N', 38 interrupted", "54 ", "7 groups ready"),
        *("trained 16 of 94, 2 groups filtered", "0.83", "max 3, on policy 17%, 1.44 segments"),
        *("3.0e-07", "the mean may be 0.05", "generate 60% 6.0s", "update 20% 2.0s"),
    ):
        assert told in text


def test_lines_that_a_run_has_no_use_for_are_left_out():
    stock: Row = {"step": 1, "time_s": 9.0, "samples/trained": 8, "timing_s/step": 2.0}
    text = _text([stock])
    assert "not validated yet" in text
    for label in ("KL to ref", "in flight", "queue", "lag ", "logprob gap", "%", "resets"):
        assert label not in text


def test_without_a_row_the_view_waits():
    text = _text([])
    assert "waiting for the first row of metrics.jsonl" in text


def test_a_finished_run_is_done_however_old_its_last_row_is():
    text = _text(_rows(20), age_s=1e6)
    assert "step 20/20  100%" in text
    assert "done" in text
    assert "last row" not in text


def test_a_silent_run_is_suspect():
    assert "has it died?" not in _text(_rows(), age_s=119.0)
    assert "has it died?" in _text(_rows(), age_s=121.0)
    slow = [row | {"time_s": 100 * (row["time_s"] or 0)} for row in _rows()]  # steps of 1000 s
    assert "has it died?" not in _text(slow, age_s=5000.0)


def test_a_run_that_went_back_is_said_to_have_done_so():
    assert "went on from an earlier step" in _text(_rows(), went_back=True)
    assert "earlier step" not in _text(_rows())


@pytest.mark.parametrize(("gap", "style"), [(0.02, "bold"), (0.03, WARN), (0.06, BAD), (None, BAD)])
def test_the_gap_warns_before_the_bound_at_which_the_run_ends(gap, style):
    assert _styles(_rows(**{"logprob_gap/mean": gap}), "logprob gap")[1] == style


def test_without_a_bound_no_gap_is_a_warning():
    rows = [{k: v for k, v in row.items() if k != "run/max_logprob_gap"} for row in _rows()]
    rows[-1]["logprob_gap/mean"] = 5.0
    assert _styles(rows, "logprob gap")[1] == "bold"


def test_a_step_without_fresh_tokens_shows_the_gap_before():
    rows = _rows()
    del rows[-1]["logprob_gap/mean"]
    rows[-2]["logprob_gap/mean"] = 0.0123
    assert "1.2e-02" in _text(rows)


def test_nan_is_said_in_red():
    rows = _rows(**{"update/grad_norm": None})
    assert _styles(rows, "grad norm")[1] == BAD
    assert re.search(r"grad norm +NaN", _text(rows))


def test_a_limit_that_is_half_empty_warns():
    assert _styles(_rows(**{"rollout/in_flight": 30.0}), "in flight")[1] == WARN
    assert _styles(_rows(), "in flight")[1] == "bold"


def test_a_plain_line_holds_the_step_in_one_line():
    assert plain_line(WatchState.of(_rows())) == (
        "step 7/20  reward 0.400  accuracy 0.938  in flight 50.7/64  queue 54  step 10s  2m10s left"
    )


def test_the_time_left_goes_down_between_rows():
    rows = [{k: v for k, v in row.items() if not k.startswith("val/")} for row in _rows()]
    assert "2m10s left" in _text(rows, age_s=0.0)  # 13 steps of 10 s
    assert "2m05s left" in _text(rows, age_s=5.0)
    assert "0.0s left" in _text(rows, age_s=500.0)


def test_no_color_leaves_no_escape(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    for line in render(WatchState.of(_rows(**{"logprob_gap/mean": 0.06})), _shown()):
        console.print(line)
    assert re.findall(r"\x1b\[[0-9;]*3[0-7]m", file.getvalue()) == []


def test_an_ascii_terminal_gets_ascii():
    assert _text(_rows(), marks=marks_for("ANSI_X3.4-1968")).isascii()
    assert (marks_for("utf-8"), marks_for("UTF8"), marks_for("latin-1")) == (
        UNICODE,
        UNICODE,
        ASCII,
    )


def test_a_history_goes_from_the_lowest_to_the_highest():
    assert history([0.0, 1.0, None, 7.0], 10, UNICODE) == "▁▂ █"
    assert history([2.0, 2.0], 10, UNICODE) == "▄▄"
    assert history([None], 10, UNICODE) == ""


def test_a_long_history_is_averaged_and_keeps_its_ends():
    assert history([0.0, 0.0, 4.0, 8.0, 14.0, 14.0], 3, UNICODE) == "▁▄█"  # means 0, 6, 14


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 200))
def test_stacked_shares_fill_the_width_exactly(values, width):
    total = sum(values)
    parts = [value / total for value in values] if total > 1e-6 else [0.0] * len(values)
    assert sum(widths(parts, width)) == (width if any(parts) else 0)


@given(st.floats(-1, 2), st.integers(0, 100))
def test_a_bar_is_as_wide_as_asked(share, width):
    reached, rest = bar(share, width, UNICODE)
    assert len(reached + rest) == width
