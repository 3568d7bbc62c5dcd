"""Panels of bars and ranges: a step's seconds, how stale the tokens were, how long the responses.

Bars are means over the seeds; a whisker is their range. Refuses to compute: that is `figure_data`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from copris_core.report.compared import Method
from copris_core.report.figure_data import LAGS, PIECES, Spread, lag_shares, spread, step_pieces
from copris_core.report.figure_sketch import FEW, Look, Panel, short, stacked, with_absent
from copris_core.report.panels import PHASE_COLOURS, PHASE_NAMES
from copris_core.report.ratios import per_step
from copris_core.report.summary import Phases

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PIECE_COLOURS = {
    "generate_full": "#1F5FA8",
    "tail_bubble": "#D7301F",
    "waiting": "#F08A24",
    "unsplit": "#7A7F87",
    "old_log_prob": "#4F86C6",
    "ref": "#4F86C6",
    "update": "#4F86C6",
    "weight_sync": "#A8AEB5",
    "other": "#A8AEB5",
}
"""Blue is work that trains, warm is what a better schedule could win back, grey is neither."""

ON_BAR = "#FEFEFE"
"""Text on a coloured bar, the same in both themes."""
ROOMY = 0.09
"""A piece of a bar that is a smaller share of the longest bar has no room for its number."""
Z95 = 1.96
"""Half-width of a 95% interval in standard errors."""
FATES = ("finished", "trained", "pruned", "filtered", "dropped")
"""Whose lengths are shown, where there are any."""
PLACE: dict[str, Any] = {"textcoords": "offset points", "va": "center"}


def step_seconds(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Where the seconds of a mean training step went, one stacked bar a method."""
    phases = [[_phase_s(method, phase.name) for method in methods] for phase in fields(Phases)]
    longest = max(sum(widths) for widths in zip(*phases, strict=True))
    ends = [0.0] * len(methods)
    for widths, name, colour in zip(phases, PHASE_NAMES, PHASE_COLOURS, strict=True):
        if any(widths):
            bars = axis.barh(range(len(methods)), widths, 0.44, left=ends, color=colour, label=name)
            texts = [f"{x:.2g}" if x > ROOMY * longest else "" for x in widths]
            axis.bar_label(bars, texts, label_type="center", color=ON_BAR, fontsize=11)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for row, end in enumerate(ends):
        text = f"{end:.3g} s" if end else "not measured"
        axis.annotate(text, (end, row), (6, 0), weight="bold", **PLACE)
    _name_rows(axis, methods)
    axis.set_xlim(0, 1.22 * longest or 1)
    axis.set(title="Seconds of a training step", xlabel="seconds, mean over the steps")
    axis.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=3, fontsize=10.5)


def waterfall_panels(methods: Sequence[Method]) -> tuple[Panel, ...]:
    """A panel for each method whose steps were timed, all on one scale."""
    found = [(place, pieces) for place, each in enumerate(methods) if (pieces := _pieces(each))]
    if not found:
        return ()
    longest = max(sum(each.mean for each in pieces.values()) for _, pieces in found)
    size = (1.5 * longest, max(len(pieces) for _, pieces in found))
    return tuple(_waterfall(pieces, place=place, size=size) for place, pieces in found)


def staleness_panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Share of the trained tokens at each lag, bars of the methods side by side."""
    from matplotlib.ticker import PercentFormatter

    found = [(place, shares) for place, each in enumerate(methods) if (shares := _shares(each))]
    width = 0.84 / len(found)
    turned = 90 if len(found) > FEW else 0
    above: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 10, "rotation": turned}
    above["textcoords"] = "offset points"
    for turn, (place, shares) in enumerate(found):
        middles = [lag + (turn - (len(found) - 1) / 2) * width for lag in LAGS]
        heights = [share.mean for share in shares]
        axis.bar(middles, heights, 0.92 * width, color=look.pens[place].colour)
        _whiskers(axis, middles, shares, look)
        for middle, share in zip(middles, shares, strict=True):
            if share.mean:
                axis.annotate(f"{share.mean:.0%}", (middle, share.high), (0, 4), **above)
    axis.set_xticks(LAGS, [str(lag) for lag in LAGS[:-1]] + [f"{LAGS[-1]} or more"])
    absent = [each.label for each in methods if not _shares(each)]
    axis.set_xlabel(with_absent("lag: policy versions from sampling to training", absent))
    axis.grid(visible=False, axis="x")
    axis.set_ylim(0, 1.2 if turned else 1.08)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.set(title="Share of the trained tokens")


def lengths_panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Mean (marker) and median to 90% (line) of response lengths, by what became of them."""
    told = [(place, each) for place, each in enumerate(methods) if audits(each)]
    fates = [fate for fate in FATES if any(_lengths(each, fate, "mean") for _, each in told)]
    for turn, (place, method) in enumerate(told):
        pen = look.pens[place]
        for row, fate in enumerate(fates):
            mean = _lengths(method, fate, "mean")
            ends = [_lengths(method, fate, name) for name in ("p50", "p90")]
            if mean is None or ends[0] is None or ends[1] is None:
                continue
            y = row + (turn - (len(told) - 1) / 2) * 0.72 / len(told)
            axis.plot([ends[0].mean, ends[1].mean], [y, y], color=pen.colour, lw=4, alpha=0.4)
            axis.plot([mean.mean], [y], color=pen.colour, marker=pen.marker, ms=7)
    axis.set_yticks(range(len(fates)), fates)
    axis.set_ylim(len(fates) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.set_xlim(left=0)
    axis.set(title="Lengths: mean, median to 90%", xlabel="tokens of a response")


def bias_panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
    """Mean length trained minus mean length finished, a dot a run, with its 95% interval."""
    for place, method in enumerate(methods):
        pen = look.pens[place]
        found = [each.length_bias for each in audits(method) if each.length_bias is not None]
        for turn, bias in enumerate(found):
            y = place + (turn - (len(found) - 1) / 2) * 0.6 / len(found)
            if bias.stderr is not None:
                ends = [bias.tokens - Z95 * bias.stderr, bias.tokens + Z95 * bias.stderr]
                axis.plot(ends, [y, y], color=pen.colour, lw=2.2, alpha=0.6)
            axis.plot([bias.tokens], [y], color=pen.colour, marker=pen.marker, ms=7)
        if not found:
            axis.annotate("no ledger", (0, place), (6, 0), style="italic", fontsize=10.5, **PLACE)
    axis.axvline(0, color=look.ink, lw=1.0, alpha=0.6)
    _name_rows(axis, methods)
    axis.margins(x=0.15)
    axis.set(title="Trained minus finished", xlabel="tokens, 95% interval; 0: a fair sample")


def audits(method: Method) -> list[Any]:
    """The audits of the runs that have a ledger."""
    return [run.audit for run in method.runs if run.audit is not None]


def _waterfall(pieces: Mapping[str, Spread], *, place: int, size: tuple[float, int]) -> Panel:
    """One method's step as falling bars, each beginning where the last one ended.

    ``size``: seconds and rows of the scales, the same in every panel.
    """
    titles = dict(PIECES)
    total = sum(piece.mean for piece in pieces.values())

    def panel(axis: Axes, methods: Sequence[Method], look: Look) -> None:
        begin = 0.0
        for row, (name, piece) in enumerate(pieces.items()):
            axis.barh([row], [piece.mean], 0.68, left=[begin], color=PIECE_COLOURS[name])
            stop = begin + piece.mean
            text = f"{piece.mean:.2g} s, {piece.mean / total:.0%}"
            axis.annotate(text, (stop, row), (5, 0), fontsize=11, **PLACE)
            if row + 1 < len(pieces):
                axis.plot([stop, stop], [row, row + 1], color=look.ink, lw=0.8, alpha=0.4)
            begin = stop
        axis.set_yticks(range(len(pieces)), [titles[name] for name in pieces], fontsize=11)
        axis.set_xlim(0, size[0])
        axis.set_ylim(size[1] - 0.4, -0.6)
        axis.grid(visible=False, axis="y")
        title = stacked(f"{short(methods[place].label)}: {total:.3g} s a step")
        axis.set(title=title, xlabel="seconds")

    return panel


def _pieces(method: Method) -> dict[str, Spread] | None:
    found = [pieces for run in method.runs if (pieces := step_pieces(run))]
    if not found:
        return None
    spreads = {name: spread([each[name] for each in found]) for name, _ in PIECES}
    return {name: each for name, each in spreads.items() if each is not None and each.high > 0}


def _shares(method: Method) -> list[Spread]:
    found = [shares for run in method.runs if (shares := lag_shares(run))]
    spreads = [spread([shares[lag] for shares in found]) for lag in LAGS]
    return [each for each in spreads if each is not None]


def _phase_s(method: Method, phase: str) -> float:
    """Mean over the seeds of the phase's seconds a step; 0 where no seed timed it."""
    found = [per_step(getattr(x.summary.phases, phase), x.summary) for x in method.runs]
    known = spread(found)
    return 0.0 if known is None else known.mean


def _lengths(method: Method, fate: str, what: str) -> Spread | None:
    told = [each.lengths[fate] for each in audits(method) if fate in each.lengths]
    return spread([getattr(each, what) for each in told])


def _whiskers(axis: Axes, x: Sequence[float], spreads: Sequence[Spread], look: Look) -> None:
    for at, each in zip(x, spreads, strict=True):
        if each.high > each.low:
            axis.plot([at, at], [each.low, each.high], color=look.ink, lw=1.2)


def _name_rows(axis: Axes, methods: Sequence[Method]) -> None:
    """Names stand above their rows: beside them they would take a phone's width."""
    place: dict[str, Any] = {"xycoords": axis.get_yaxis_transform(), "textcoords": "offset points"}
    for row, method in enumerate(methods):
        name = short(method.label)
        axis.annotate(name, (0, row - 0.4), (4, 0), va="center", fontsize=11, **place)
    axis.set_yticks([])
    axis.set_ylim(len(methods) - 0.55, -0.7)
