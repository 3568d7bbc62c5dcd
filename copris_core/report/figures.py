"""The pictures of a comparison: the headline, how it was learned, what it cost, how stale it was.

Refuses to read files, and to draw what no run measured: that picture, or that panel, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from copris_core.report.compared import Method
from copris_core.report.figure_bars import (
    audits,
    bias_panel,
    lengths_panel,
    staleness_panel,
    step_seconds,
    waterfall_panels,
)
from copris_core.report.figure_data import LAGS, clip_fraction, key, lag_shares
from copris_core.report.figure_lines import (
    ACCURACY,
    X,
    gap_panel,
    is_measured,
    learning_panel,
    line_panel,
    occupancy_panel,
)
from copris_core.report.figure_sketch import Format, Panel, Sketch, draw_sketch
from copris_core.report.picture import Layout, Theme
from copris_core.report.score import score

SEEDS = "A line is the mean over the seeds, its shade their range."
CURVES = (
    ("Held-out accuracy", ACCURACY, "steps", False),
    ("Accuracy by training time", ACCURACY, "seconds", False),
    ("Reward", score, "steps", True),
    ("Response length, tokens", key("length/drawn_mean", "length/trained_mean"), "steps", True),
    ("Entropy, nats per token", key("update/entropy", "prorl/entropy"), "steps", True),
    ("KL to the reference, nats", key("update/kl_loss", "prorl/kl_divergence"), "steps", True),
    ("Clipped share of the tokens", key("update/clip_fraction"), "steps", True),
)
"""Title, number, scale, and whether it is noisy, of each learning curve."""
CLIPPED = (("lag 0", LAGS[:1]), ("lag 1", LAGS[1:2]), ("lag 2 and more", LAGS[2:]))
"""Name and lags of each panel of the clipping."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture in every version, each drawn when it is first asked for."""

    sketch: Sketch
    """What it shows."""
    methods: tuple[Method, ...]
    """Of whom."""

    @property
    def name(self) -> str:
        """Name for files and links."""
        return self.sketch.name

    @property
    def title(self) -> str:
        """Heading."""
        return self.sketch.title

    @property
    def remark(self) -> str:
        """How to read it."""
        return self.sketch.remark

    @cached_property
    def light_wide(self) -> bytes:
        """PNG for a wide light screen."""
        return self._draw("light", "wide", "png")

    @cached_property
    def light_tall(self) -> bytes:
        """PNG for a narrow light screen."""
        return self._draw("light", "tall", "png")

    @cached_property
    def dark_wide(self) -> bytes:
        """PNG for a wide dark screen."""
        return self._draw("dark", "wide", "png")

    @cached_property
    def dark_tall(self) -> bytes:
        """PNG for a narrow dark screen."""
        return self._draw("dark", "tall", "png")

    @cached_property
    def svg(self) -> bytes:
        """SVG of the wide light one."""
        return self._draw("light", "wide", "svg")

    @cached_property
    def svg_tall(self) -> bytes:
        """SVG of the narrow light one."""
        return self._draw("light", "tall", "svg")

    def _draw(self, theme: Theme, layout: Layout, form: Format) -> bytes:
        return draw_sketch(self.sketch, self.methods, theme=theme, layout=layout, form=form)


def draw_all(methods: Sequence[Method]) -> tuple[Picture, ...]:
    """Every picture for which a run has data, the headline first.

    Raises:
        ValueError: there is no method.
    """
    if not methods:
        raise ValueError("nothing to draw: give at least one finished run")
    sketches = (
        _headline(),
        _curves(methods),
        _waterfall(methods),
        _staleness(methods),
        _clipping(methods),
        _lengths(methods),
        _gap(methods),
    )
    return tuple(
        Picture(sketch=each, methods=tuple(methods)) for each in sketches if each is not None
    )


def _headline() -> Sketch:
    return Sketch(
        name="headline",
        title="What each method bought",
        remark=f"Accuracy is held out. {SEEDS} Reward is the mean over the last five steps. "
        "Training time leaves start-up and validation out. N' is the limit of responses in flight.",
        panels=(
            learning_panel,
            line_panel("Reward by training time", score, x="seconds", noisy=True),
            step_seconds,
            occupancy_panel,
        ),
        columns=2,
        height=4.1,
    )


def _curves(methods: Sequence[Method]) -> Sketch | None:
    panels: list[Panel] = []
    absent = []
    for title, pick, x, noisy in CURVES:
        if is_measured(methods, pick):
            scale: X = "seconds" if x == "seconds" else "steps"
            panels.append(line_panel(title, pick, x=scale, noisy=noisy))
        else:
            name = title.partition(",")[0]
            absent.append(name if name[1].isupper() else name.lower())
    missing = f" Not measured by any run: {', '.join(absent)}." if absent else ""
    remark = f"{SEEDS} All but accuracy is the mean over the last five steps.{missing}"
    return _sketch("curves", "Learning curves", remark, panels, columns=3, height=3.3)


def _waterfall(methods: Sequence[Method]) -> Sketch | None:
    remark = (
        "Seconds of a mean training step, one piece after another. Blue trains, warm could be won "
        "back, grey is neither. Generation is split where a run measured how full its engine was. "
        "The first steps count, in which an engine warms up."
    )
    panels = waterfall_panels(methods)
    title = "Where a step's seconds go"
    return _sketch("waterfall", title, remark, panels, columns=2, height=3.4, has_legend=False)


def _staleness(methods: Sequence[Method]) -> Sketch | None:
    known = any(lag_shares(run) for method in methods for run in method.runs)
    remark = (
        "Lag 0 is sampled by the very policy that is updated. A bar is the mean over the seeds, "
        "a whisker their range."
    )
    panels = (staleness_panel,) if known else ()
    return _sketch("staleness", "How stale the tokens were", remark, panels, columns=1, height=4.0)


def _clipping(methods: Sequence[Method]) -> Sketch | None:
    panels = [
        line_panel(f"Clipped share, {name}", pick, noisy=True, without="no such tokens")
        for name, lags in CLIPPED
        if is_measured(methods, pick := clip_fraction(lags))
    ]
    remark = (
        "Of the trained tokens of a lag, the share whose importance ratio was clipped: staler "
        "tokens lie further from the policy."
    )
    return _sketch("clipping", "Clipping by lag", remark, panels, columns=3, height=3.8)


def _lengths(methods: Sequence[Method]) -> Sketch | None:
    known = any(audits(method) for method in methods)
    remark = (
        "From the ledgers. A method that trains on its short responses first, or drops long ones, "
        "shows left of 0."
    )
    panels = (lengths_panel, bias_panel) if known else ()
    return _sketch("lengths", "Length bias", remark, panels, columns=2, height=4.2)


def _gap(methods: Sequence[Method]) -> Sketch | None:
    known = is_measured(methods, key("logprob_gap/mean"))
    remark = (
        "How far the engine's log-probs of the same tokens are from the trainer's. Above 1e-4 they "
        "do not compute one policy."
    )
    panels = (gap_panel,) if known else ()
    return _sketch("gap", "Engine against trainer", remark, panels, columns=1, height=4.0)


def _sketch(
    name: str,
    title: str,
    remark: str,
    panels: Sequence[Panel],
    *,
    columns: int,
    height: float,
    has_legend: bool = True,
) -> Sketch | None:
    """The sketch, or None where it would be empty."""
    if not panels:
        return None
    return Sketch(
        name=name, title=title, remark=remark, panels=tuple(panels), columns=columns,
        height=height, has_legend=has_legend,
    )  # fmt: skip
