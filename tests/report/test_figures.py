"""What the pictures of a comparison show, and what they leave out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from copris_core.report.audit import Audit, Repeated
from copris_core.report.compared import Method, RunData
from copris_core.report.figure_bars import (
    bias_panel,
    lengths_panel,
    staleness_panel,
    step_seconds,
    waterfall_panels,
)
from copris_core.report.figure_data import key
from copris_core.report.figure_lines import (
    MOST_MARKERS,
    gap_panel,
    learning_panel,
    line_panel,
    occupancy_panel,
)
from copris_core.report.figure_sketch import Look, Panel
from copris_core.report.figures import draw_all
from copris_core.report.lengths import Bias, Lengths
from copris_core.report.panels import pens
from copris_core.report.run_folder import Row
from tests.report.compare_house import method_of, run_of

LAGGED: dict[str, Any] = {
    "lag0/token_fraction": 0.6,
    "lag0/clip_fraction": 0.01,
    "lag1/token_fraction": 0.4,
    "lag1/clip_fraction": 0.02,
}
REWARD = key("reward/mean")


def _look(count: int) -> Look:
    return Look(pens=tuple(pens(count, dark=False)), ink="#1f2328")


def _axis(panel: Panel, *methods: Method) -> Axes:
    axis: Axes = Figure().subplots()
    panel(axis, methods, _look(len(methods)))
    return axis


def _texts(axis: Axes) -> list[str]:
    return [x.get_text() for x in axis.texts]


def _bold(axis: Axes) -> list[Any]:
    return [x for x in axis.lines if x.get_linewidth() == 2.2]


def _mute(label: str) -> Method:
    return method_of(label, replace(run_of(), rows=[{"step": 1, "time_s": 1.0}]))


def _audited(run: RunData, *, tokens: float, stderr: float | None) -> RunData:
    each = Lengths(n=9, mean=50.0, stderr=1.0, p50=40.0, p90=90.0)
    repeated = Repeated(lines=0, finished=0, tokens=0, trained=0)
    audit = Audit(
        groups={}, responses={}, lost={}, duplicated={}, restarts=0, continued_tokens=0,
        continued_over_restarts=(), repeated=repeated,
        lengths={"finished": each, "trained": replace(each, mean=45.0)},
        length_bias=Bias(tokens=tokens, stderr=stderr),
    )  # fmt: skip
    return replace(run, audit=audit)


def _names(methods: Sequence[Method]) -> list[str]:
    return [picture.name for picture in draw_all(methods)]


def test_everything_measured_gives_every_picture_the_headline_first() -> None:
    run = _audited(run_of(**LAGGED), tokens=-1.0, stderr=0.5)
    assert _names([method_of("grpo", run)]) == [
        *("headline", "curves", "waterfall", "staleness", "clipping", "lengths", "gap")
    ]


def test_a_picture_without_data_is_left_out() -> None:
    assert _names([method_of("grpo", run_of())]) == ["headline", "curves", "waterfall", "gap"]
    assert _names([_mute("grpo")]) == ["headline"]


def test_one_method_with_the_data_is_enough() -> None:
    assert "staleness" in _names([_mute("grpo"), method_of("copris", run_of(**LAGGED))])


def test_curves_that_no_run_measured_are_named_instead_of_drawn() -> None:
    plain = draw_all([method_of("grpo", run_of())])[1]
    rich = draw_all([method_of("grpo", run_of(**{"prorl/entropy": 0.1, "update/kl_loss": 0.0}))])[1]
    assert "entropy, KL to the reference" in plain.remark
    assert "entropy" not in rich.remark
    assert len(rich.sketch.panels) == len(plain.sketch.panels) + 2


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one finished run"):
        draw_all([])


def test_a_picture_is_drawn_once_when_it_is_asked_for() -> None:
    picture = draw_all([method_of("grpo", run_of())])[-1]
    assert picture.light_wide.startswith(b"\x89PNG")
    assert picture.light_wide is picture.light_wide
    assert picture.dark_wide != picture.light_wide


# ---- lines ----


def test_seeds_have_a_shade_and_a_lone_seed_its_own_thin_line() -> None:
    panel = line_panel("Reward", REWARD, noisy=True)
    alone = _axis(panel, method_of("grpo", run_of()))
    assert not alone.collections
    assert len(alone.lines) == 2
    both = _axis(panel, method_of("grpo", run_of(seed=0), run_of(seed=1)))
    assert len(both.collections) == 1
    assert len(both.lines) == 1


def test_with_many_methods_only_the_smooth_lines_are_drawn() -> None:
    panel = line_panel("Reward", REWARD, noisy=True)
    axis = _axis(panel, *(method_of(name, run_of()) for name in "abcd"))
    assert len(axis.lines) == 4


def test_a_line_holds_what_was_measured_in_the_pen_of_its_method() -> None:
    second = method_of("b", run_of(validations={0: 0.1, 3: 0.7}))
    axis = _axis(line_panel("Accuracy", key("val/accuracy")), _mute("a"), second)
    [line] = axis.lines
    assert list(line.get_xdata()) == [0, 3]
    assert list(line.get_ydata()) == [0.1, 0.7]
    assert line.get_color() == pens(2, dark=False)[1].colour
    assert line.get_marker() == pens(2, dark=False)[1].marker


def test_a_line_of_many_validations_is_no_row_of_markers() -> None:
    often = method_of("a", run_of(seconds=[1.0] * 60, validations=dict.fromkeys(range(61), 0.5)))
    [line] = _axis(line_panel("Accuracy", key("val/accuracy")), often).lines
    assert 61 / line.get_markevery() <= MOST_MARKERS


@pytest.mark.parametrize(
    "panel", [learning_panel, occupancy_panel, gap_panel, line_panel("Reward", REWARD)]
)
def test_a_method_that_measured_nothing_is_named(panel: Panel) -> None:
    measured = run_of(**{"rollout/in_flight": 30.0, "rollout/limit": 32.0})
    axis = _axis(panel, method_of("copris", measured), _mute("mute"))
    assert axis.get_xlabel() == "training step\nnot measured: mute"


def test_training_time_is_in_the_unit_of_its_length() -> None:
    panel = line_panel("Reward", REWARD, x="seconds")
    for seconds, unit, end in ((10.0, "seconds", 40), (600.0, "minutes", 40), (9e3, "hours", 10)):
        axis = _axis(panel, method_of("grpo", run_of(seconds=[seconds] * 4)))
        assert axis.get_xlabel() == f"{unit} of training steps"
        assert axis.lines[-1].get_xdata()[-1] == end


def test_a_scale_holds_zero_and_the_highest_point() -> None:
    axis = _axis(line_panel("Reward", REWARD), method_of("grpo", run_of(rewards=[0.8] * 4)))
    low, high = axis.get_ylim()
    assert low < 0 < 0.8 < high < 1
    kl = method_of("grpo", run_of(rewards=[-0.5, 0.1, 0.1, 0.1]))
    low, high = _axis(line_panel("KL", REWARD), kl).get_ylim()
    assert low < -0.5
    assert high > 0.1


def test_the_limit_is_dotted_and_only_of_who_has_one() -> None:
    limited = method_of("copris", run_of(**{"rollout/in_flight": 30.0, "rollout/limit": 32.0}))
    free = method_of("grpo", run_of(**{"rollout/in_flight": 20.0}))
    axis = _axis(occupancy_panel, limited, free)
    dotted = [x for x in axis.lines if x.get_linestyle() == ":"]
    assert [set(x.get_ydata()) for x in dotted] == [{32.0}]
    assert [set(x.get_ydata()) for x in _bold(axis)] == [{30.0}, {20.0}]


def test_an_exact_step_has_no_point_on_the_scale_of_decades() -> None:
    rows: list[Row] = [
        {"step": step, "logprob_gap/mean": gap, "logprob_gap/max": 10 * gap}
        for step, gap in ((1, 1e-7), (2, 0.0), (3, 1e-6))
    ]
    axis = _axis(gap_panel, method_of("grpo", replace(run_of(), rows=rows)))
    assert [list(x.get_xdata()) for x in axis.lines] == [[1, 3], [1, 3]]
    assert axis.get_yscale() == "log"


# ---- bars ----


def test_bars_add_up_to_the_seconds_of_a_mean_step() -> None:
    axis = _axis(step_seconds, method_of("grpo", run_of()), _mute_summary("mute"))
    widths = [x.get_width() for x in axis.patches]
    assert widths == [5.0, 0.0, 2.5, 0.0, 2.5, 0.0]
    assert {"10 s", "not measured", "grpo", "mute"} <= set(_texts(axis))


def _mute_summary(label: str) -> Method:
    run = run_of()
    phases = replace(run.summary.phases, generate=None, update=None, other=None)
    return method_of(label, replace(run, summary=replace(run.summary, phases=phases)))


def test_a_waterfall_falls_from_piece_to_piece_and_ends_at_the_step() -> None:
    gate = {"rollout/open_s": 4.0, "rollout/occupancy": 0.75}
    methods = [_mute("mute"), method_of("copris", run_of(**gate))]
    [panel] = waterfall_panels(methods)
    axis: Axes = Figure().subplots()
    panel(axis, methods, _look(2))
    bars = [(x.get_x(), x.get_width()) for x in axis.patches]
    # full 4 * 0.75, empty 4 * 0.25, waiting 5 - 4, update, other
    assert bars == [(0, 3), (3, 1), (4, 1), (5, 2.5), (7.5, 2.5)]
    assert [x.get_text() for x in axis.get_yticklabels()] == [
        *("generating, full width", "empty slots", "starting and stopping", "update", "other")
    ]
    assert axis.get_title() == "copris: 10 s a step"
    assert _texts(axis)[1] == "1 s, 10%"


def test_all_waterfalls_have_one_scale() -> None:
    methods = [
        method_of(name, run_of(seconds=[took] * 2)) for name, took in (("a", 10.0), ("b", 1.0))
    ]
    limits = set()
    for panel in waterfall_panels(methods):
        axis: Axes = Figure().subplots()
        panel(axis, methods, _look(2))
        limits.add((axis.get_xlim(), axis.get_ylim()))
    assert len(limits) == 1


def test_staleness_bars_are_shares_with_the_range_of_the_seeds() -> None:
    other = LAGGED | {"lag0/token_fraction": 0.8, "lag1/token_fraction": 0.2}
    both = method_of("copris", run_of(seed=0, **LAGGED), run_of(seed=1, **other))
    axis = _axis(staleness_panel, _mute("grpo"), both)
    assert [x.get_height() for x in axis.patches] == pytest.approx([0.7, 0.3, 0, 0])
    assert [list(x.get_ydata()) for x in axis.lines] == [
        pytest.approx([0.6, 0.8]),
        pytest.approx([0.2, 0.4]),
    ]
    assert _texts(axis) == ["70%", "30%"]
    assert "not measured: grpo" in axis.get_xlabel()


def test_length_bias_has_a_point_a_run_its_interval_and_who_has_no_ledger() -> None:
    told = method_of(
        "copris",
        _audited(run_of(seed=0), tokens=-2.0, stderr=1.0),
        _audited(run_of(seed=1), tokens=3.0, stderr=None),
    )
    axis = _axis(bias_panel, method_of("grpo", run_of()), told)
    drawn = [[float(v) for v in x.get_xdata()] for x in axis.lines]
    assert [-2.0] in drawn
    assert [3.0] in drawn
    assert [pytest.approx(-3.96), pytest.approx(-0.04)] in drawn
    assert _texts(axis).count("no ledger") == 1


def test_lengths_are_shown_for_the_fates_that_occurred() -> None:
    told = method_of("copris", _audited(run_of(), tokens=-2.0, stderr=1.0))
    axis = _axis(lengths_panel, method_of("grpo", run_of()), told)
    assert [x.get_text() for x in axis.get_yticklabels()] == ["finished", "trained"]
    drawn = [[float(v) for v in x.get_xdata()] for x in axis.lines]
    assert drawn == [[40.0, 90.0], [50.0], [40.0, 90.0], [45.0]]
