import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from copris_core.report.panels import PANELS, Curves, in_flight, learning, pens, step_seconds
from copris_core.report.picture import DOTS_PER_INCH, INK, SHAPES, Layout, Theme, draw
from copris_core.report.run_folder import Row
from copris_core.report.summary import Phases, Summary

Make = Callable[..., Summary]
MakeRows = Callable[..., list[Row]]

PNG = b"\x89PNG\r\n\x1a\n"
NO_PHASES = Phases(
    generate=None, old_log_prob=None, ref=None, update=None, weight_sync=None, other=None
)


@pytest.fixture
def make_curves(make_summary: Make, make_rows: MakeRows) -> Callable[..., list[Curves]]:
    def make(*names: str) -> list[Curves]:
        return [
            Curves(label=x, summary=make_summary(x), rows=make_rows(x, num_steps=12)) for x in names
        ]

    return make


def _axis() -> Axes:
    return Figure().subplots()


def _texts(axis: Axes) -> list[str]:
    return [x.get_text() for x in axis.texts]


@pytest.mark.parametrize(("theme", "layout"), [("light", "wide"), ("dark", "tall")])
def test_the_picture_is_a_png_of_the_promised_size_and_paper(
    make_curves: Callable[..., list[Curves]], theme: Theme, layout: Layout
) -> None:
    png = draw(make_curves("grpo", "copris"), theme=theme, layout=layout)
    assert png.startswith(PNG)
    pixels = imread(io.BytesIO(png))
    wide, high = (int(x * DOTS_PER_INCH) for x in SHAPES[layout][1])
    assert pixels.shape[:2] == (high, wide)
    assert to_hex(pixels[0, 0]) == INK[theme][0]


def test_a_run_that_measured_nothing_is_drawn_and_named(
    make_curves: Callable[..., list[Curves]], make_summary: Make
) -> None:
    mute = Curves(label="mute", summary=make_summary(phases=NO_PHASES, steps=0), rows=[])
    runs = [*make_curves("copris"), mute]
    assert draw(runs).startswith(PNG)
    for panel, name in zip(PANELS, ("mute", "mute", "not measured", "mute"), strict=True):
        axis = _axis()
        panel(axis, runs, pens(2, dark=False))
        assert any("not measured" in x and name in x for x in _texts(axis))


def test_the_method_without_a_limit_has_no_limit_line(
    make_curves: Callable[..., list[Curves]],
) -> None:
    axis = _axis()
    in_flight(axis, make_curves("grpo", "copris"), pens(2, dark=False))
    dotted = [x for x in axis.lines if x.get_linestyle() == ":" and len(x.get_xdata()) > 0]
    assert [set(x.get_ydata()) for x in dotted] == [{64}]


def test_accuracy_is_drawn_at_the_steps_it_was_measured(
    make_curves: Callable[..., list[Curves]],
) -> None:
    axis = _axis()
    learning(axis, make_curves("grpo"), pens(1, dark=False))
    [line] = [x for x in axis.lines if x.get_label() == "grpo"]
    assert list(line.get_xdata()) == [0, 10, 12]


def test_bars_add_up_to_the_seconds_of_a_mean_step(make_summary: Make) -> None:
    phases = replace(NO_PHASES, generate=60.0, update=30.0, other=6.0)
    run = Curves(label="grpo", summary=make_summary(phases=phases, steps=12), rows=[])
    axis = _axis()
    step_seconds(axis, [run], pens(1, dark=False))
    assert [x.get_width() for x in axis.patches] == [5.0, 2.5, 0.5]
    assert "8.0 s" in _texts(axis)


def test_six_runs_look_different_without_colour_too() -> None:
    looks = pens(6, dark=False)
    assert len({x.marker for x in looks}) == len({x.line for x in looks}) == 6
    assert len({x.colour for x in looks}) == 6
    assert pens(7, dark=True)[6] == pens(7, dark=True)[0]


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        draw([])
