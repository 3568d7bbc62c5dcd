"""How every picture looks: pens that are told apart, the right paper, a legend that fits."""

import io

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.image import imread

from copris_core.report.compared import Method
from copris_core.report.figure_sketch import (
    LONGEST_LABEL,
    TITLE_WIDTH,
    WIDTH,
    Look,
    Sketch,
    draw_sketch,
    short,
    stacked,
    with_absent,
)
from copris_core.report.panels import pens
from copris_core.report.picture import DOTS_PER_INCH, INK, Layout, Theme
from tests.report.compare_house import method_of, run_of

pytestmark = pytest.mark.slow  # draws

ODD = "__init__ $\\frac{1}$ <script>alert(1)</script> & 'x'"


def _sketch(num_panels: int = 1, **changes: bool) -> Sketch:
    def panel(axis: Axes, methods: list[Method], look: Look) -> None:
        axis.plot([0, 1], [0, 1], color=look.pens[0].colour)
        axis.set_title(methods[0].label[:40])

    return Sketch(
        name="test", title="A test", remark="None.", panels=(panel,) * num_panels, columns=2,
        height=1.5, **changes,
    )  # fmt: skip


def _draw(*labels: str, theme: Theme = "light", layout: Layout = "wide") -> bytes:
    methods = [method_of(label, run_of()) for label in labels]
    return draw_sketch(_sketch(), methods, theme=theme, layout=layout, form="png")


@pytest.mark.parametrize(("theme", "layout"), [("light", "wide"), ("dark", "tall")])
def test_a_picture_is_a_png_of_the_promised_width_and_paper(theme: Theme, layout: Layout) -> None:
    png = _draw("grpo", theme=theme, layout=layout)
    pixels = imread(io.BytesIO(png))
    assert pixels.shape[1] == int(WIDTH[layout] * DOTS_PER_INCH)
    assert to_hex(pixels[0, 0]) == INK[theme][0]


def test_panels_stand_beside_each_other_or_below() -> None:
    methods = [method_of("grpo", run_of())]
    heights = {}
    for layout in ("wide", "tall"):
        sketch = _sketch(3, has_legend=False)
        png = draw_sketch(sketch, methods, theme="light", layout=layout, form="png")
        heights[layout] = imread(io.BytesIO(png)).shape[0]
    assert heights == {"wide": 2 * 1.5 * DOTS_PER_INCH, "tall": 3 * 1.5 * DOTS_PER_INCH}


def test_a_legend_of_many_rows_takes_no_room_from_the_panels() -> None:
    sizes = [
        imread(io.BytesIO(_draw(*labels, layout="tall"))).shape[0]
        for labels in (["grpo"], ["a_method_with_a_long_name", "another_with_a_long_name"])
    ]
    assert sizes[1] - sizes[0] == pytest.approx(0.24 * DOTS_PER_INCH, abs=2)


def test_a_label_is_text_whatever_it_holds() -> None:
    methods = [method_of(ODD, run_of()), method_of("grpo", run_of())]
    svg = draw_sketch(_sketch(), methods, theme="light", layout="wide", form="svg").decode()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg
    assert "$\\frac{1}$" in svg


def test_an_svg_is_the_same_every_time() -> None:
    methods = [method_of("grpo", run_of())]
    first, second = (
        draw_sketch(_sketch(), methods, theme="light", layout="wide", form="svg") for _ in range(2)
    )
    assert first == second


def test_six_methods_look_different_without_colour_too() -> None:
    looks = pens(6, dark=False)
    assert len({x.marker for x in looks}) == len({x.line for x in looks}) == 6
    assert len({x.colour for x in looks}) == 6
    assert pens(7, dark=True)[6] == pens(7, dark=True)[0]


def test_dark_pens_are_bright_and_light_pens_are_dark() -> None:
    def brightness(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return 0.299 * parts[0] + 0.587 * parts[1] + 0.114 * parts[2]

    for light, dark in zip(pens(6, dark=False), pens(6, dark=True), strict=True):
        assert brightness(dark.colour) > brightness(light.colour)


def test_long_labels_are_cut_and_underscores_kept_from_the_legend_rule() -> None:
    assert short("grpo") == "grpo"
    assert short("x" * 60) == "x" * (LONGEST_LABEL - 3) + "..."
    assert short("_private") == " _private"


def test_a_long_title_is_stacked_at_its_joints() -> None:
    title = "copris_cppo_prorl_dapo: 5.78 s a step"
    lines = stacked(title).split("\n")
    assert max(map(len, lines)) <= TITLE_WIDTH
    assert stacked("grpo: 1.72 s a step") == "grpo: 1.72 s a step"
    assert lines == ["copris_cppo_prorl_dapo:", "5.78 s a step"]


def test_who_has_no_line_is_named_under_the_scale() -> None:
    assert with_absent("training step", []) == "training step"
    assert with_absent("training step", ["a", "b"]) == "training step\nnot measured: a, b"
