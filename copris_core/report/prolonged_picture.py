"""The picture of a prolonged run: accuracy, KL and its coefficient, entropy and length, waste.

Resets of the reference are dashed lines through every panel, labelled in the first; restarts are
marks at its foot. Refuses to read files: a `ProlongedRun` in, PNG bytes out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from copris_core.report.panels import DARK_RUN_COLOURS, MARKERS, RUN_COLOURS
from copris_core.report.picture import DOTS_PER_INCH, INK, Theme, style
from copris_core.report.prolonged import BLENDED, ProlongedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES: Final = (12.0, 8.2)
SMOOTHED_STEPS: Final = 9
"""Bold lines of noisy numbers are means of this many steps around the one shown."""

FLOOR_OF_TARGET: Final = 0.01
"""KL is drawn at this share of the target or above: the first step after a reset has none."""

MOST_LABELS: Final = 12
"""Resets beyond this many are drawn without words."""

FOOT: Final = 0.025
"""Where restarts are marked, as a share of a panel's height."""

RESET_LINE: Final[dict[str, Any]] = {"ls": (0, (4, 3)), "lw": 1.3, "alpha": 0.75}


@dataclass(frozen=True, kw_only=True)
class Inks:
    """Colours of one theme, as ``#rrggbb``."""

    ink: str
    """Text, the blend, and the resets."""
    first: str
    """What the left scale shows."""
    second: str
    """What the right scale shows."""
    domains: tuple[str, ...]
    """One after another for the domains."""


def draw_prolonged(run: ProlongedRun, *, theme: Theme = "light") -> bytes:
    """PNG of the four panels."""
    # Only this function needs the plotting package, and it is slow to import.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    paper, ink, grid = INK[theme]
    inks = _inks(ink, dark=theme == "dark")
    with rc_context(style(paper, ink, grid)):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots(2, 2, sharex=True).ravel()
        for axis, panel in zip(axes, (accuracy, divergence, behaviour, waste), strict=True):
            panel(axis, run, inks)
            mark(axis, run, inks)
        name_resets(axes[0], run, inks)
        for axis in axes[2:]:
            axis.set_xlabel("training step")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 8))
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


# ---- the panels ----


def accuracy(axis: Axes, run: ProlongedRun, inks: Inks) -> None:
    """Validation accuracy of each domain, and blended."""
    for i, name in enumerate(run.domains):
        steps, values = run.points(f"val/{name}/accuracy")
        colour, marker = inks.domains[i % len(inks.domains)], MARKERS[i % len(MARKERS)]
        axis.plot(steps, values, color=colour, marker=marker, ms=4, lw=1.3, label=name)
    steps, values = run.points(BLENDED)
    axis.plot(steps, values, color=inks.ink, lw=2.8, label="blended")
    axis.set(title="Validation accuracy")
    axis.set_xlim(0, max(run.last_step, 1))
    axis.set_ylim(0, 1.02)
    _say_absent(axis, run, BLENDED)


def divergence(axis: Axes, run: ProlongedRun, inks: Inks) -> None:
    """KL to the reference with the band that leaves the coefficient alone, and the coefficient."""
    steps, values = run.points("prorl/kl_divergence")
    axis.set(title="KL to the reference, and its coefficient")
    _say_absent(axis, run, "prorl/kl_divergence")
    if not values:
        return
    floor = _floor(run, values)
    axis.set_yscale("log")
    axis.plot(steps, np.maximum(values, floor), color=inks.first, lw=1.6)
    axis.set_ylim(bottom=0.8 * floor)
    if run.band is not None:
        axis.axhspan(run.band.low, run.band.high, color=inks.first, alpha=0.13, lw=0)
        axis.axhline(run.band.target, color=inks.first, lw=1.0, ls=":")
    _name(axis, "nats per token (band: left alone)", inks.first)
    steps, values = run.points("update/kl_coefficient")
    if values:
        right = _right(axis, "coefficient", inks.second)
        right.step(steps, values, where="post", color=inks.second, lw=1.6, ls="-.")
        if min(values) > 0:
            right.set_yscale("log")


def behaviour(axis: Axes, run: ProlongedRun, inks: Inks) -> None:
    """Entropy and mean response length: noisy, so smoothed."""
    axis.set(title="Entropy and response length")
    _smooth(axis, run, "prorl/entropy", inks.first)
    axis.set_ylim(bottom=0)
    _name(axis, "entropy, nats per token", inks.first)
    right = _right(axis, "mean tokens of a response", inks.second)
    _smooth(right, run, "prorl/avg_response_length", inks.second)
    right.set_ylim(bottom=0)
    _say_absent(axis, run, "prorl/entropy")


def waste(axis: Axes, run: ProlongedRun, inks: Inks) -> None:
    """Groups that were filtered, and the share of responses cut off at their budget."""
    axis.set(title="Filtered groups and truncated responses")
    steps, values = run.points("filter/groups_filtered")
    axis.bar(steps, values, width=1.0, color=inks.first, alpha=0.35, lw=0)
    axis.set_ylim(bottom=0)
    _name(axis, "groups filtered in a step", inks.first)
    right = _right(axis, "share truncated", inks.second)
    steps, values = run.points("reward/truncated_fraction")
    right.plot(steps, _moving_mean(values), color=inks.second, lw=2.2)
    right.set_ylim(bottom=0)
    _say_absent(axis, run, "filter/groups_filtered", "reward/truncated_fraction")


# ---- resets and restarts ----


def mark(axis: Axes, run: ProlongedRun, inks: Inks) -> None:
    """A line at each reset, a mark at each restart."""
    for i, reset in enumerate(run.resets):
        label = "reference reset" if i == 0 else None
        axis.axvline(reset.step, color=inks.ink, label=label, **RESET_LINE)
    if run.restarts:
        axis.plot(
            run.restarts, [FOOT] * len(run.restarts), "^", color=inks.ink, ms=9, zorder=5,
            label="process restarted", transform=axis.get_xaxis_transform(),
        )  # fmt: skip


def name_resets(axis: Axes, run: ProlongedRun, inks: Inks) -> None:
    """The reasons of each reset, along its line."""
    for reset in run.resets[:MOST_LABELS]:
        axis.annotate(
            reset.why, (reset.step, 0.06), (-3, 0), xycoords=axis.get_xaxis_transform(),
            textcoords="offset points", rotation=90, ha="right", va="bottom", fontsize=10,
            color=inks.ink,
        )  # fmt: skip


# ---- within ----


def _inks(ink: str, *, dark: bool) -> Inks:
    colours = DARK_RUN_COLOURS if dark else RUN_COLOURS
    return Inks(ink=ink, first=colours[0], second=colours[1], domains=colours)


def _floor(run: ProlongedRun, values: Sequence[float]) -> float:
    """Smallest KL that is drawn; an estimate may be 0 or below."""
    if run.band is not None:
        return FLOOR_OF_TARGET * run.band.target
    positive = [value for value in values if value > 0]
    return FLOOR_OF_TARGET * float(np.median(positive)) if positive else 1e-6


def _smooth(axis: Axes, run: ProlongedRun, key: str, colour: str) -> None:
    """Thin as measured, bold as a moving mean."""
    steps, values = run.points(key)
    axis.plot(steps, values, color=colour, lw=0.8, alpha=0.35)
    axis.plot(steps, _moving_mean(values), color=colour, lw=2.2)


def _moving_mean(values: Sequence[float]) -> list[float]:
    """Windows are cut at the ends."""
    half = SMOOTHED_STEPS // 2
    windows = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _name(axis: Axes, text: str, colour: str) -> None:
    axis.set_ylabel(text, color=colour)
    axis.tick_params(axis="y", labelcolor=colour)
    axis.tick_params(axis="y", which="minor", length=0)


def _right(axis: Axes, text: str, colour: str) -> Axes:
    """A second scale on the right, in the colour of its line."""
    right = axis.twinx()
    right.grid(visible=False)
    _name(right, text, colour)
    return right


def _say_absent(axis: Axes, run: ProlongedRun, *keys: str) -> None:
    """An absent line must not look like one at 0."""
    absent = [key for key in keys if not run.points(key)[1]]
    if absent:
        text = f"not measured: {', '.join(absent)}"
        axis.text(0.02, 0.94, text, transform=axis.transAxes, fontsize=10.5, style="italic")
