"""plan.png: four panels that show what each N' buys and what it costs.

Seconds of a step by N', lag by N', the two against each other, and where the step's seconds go.
Refuses to compute or to read files: the object of plan.json in, PNG bytes out.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copris_core.report.panels import DARK_RUN_COLOURS, RUN_COLOURS
from copris_core.report.picture import DOTS_PER_INCH, INK, Theme, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Prediction = Mapping[str, Any]

LOOKS = {
    "sync": (3, "s", "--"),
    "naive_partial": (4, "D", "-."),
    "oversample": (2, "^", (0, (3, 1, 1, 1))),
    "copris": (0, "o", "-"),
    "copris_adaptive": (1, "*", ""),
}
"""By strategy: which of the house's colours, marker, line."""
NAMES = {"naive_partial": "naive partial", "copris_adaptive": "CoPRIS adaptive", "copris": "CoPRIS"}
PART_COLOURS = {
    "decoding": "#4477AA",
    "empty slots": "#D9566A",
    "prefill": "#CCBB44",
    "stop": "#A8AEB5",
    "update": "#228833",
}
"""By part of a step: work is cool, what nobody uses is warm."""
INCHES = (12.0, 8.6)


@dataclass(frozen=True, kw_only=True)
class _Pen:
    colour: str
    marker: str
    line: Any


def draw_plan(plan: Mapping[str, Any], *, theme: Theme = "light") -> bytes:
    """PNG of the four panels of the object of plan.json."""
    # Only this function needs the plotting package, and it is slow to import.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(style(*INK[theme])):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.subplots(2, 2).ravel()
        pens = _pens(dark=theme == "dark")
        _seconds(axes[0], plan, pens)
        _lag(axes[1], plan, pens)
        _price(axes[2], plan, pens)
        _parts(axes[3], plan)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=len(names))
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()


def _seconds(axis: Axes, plan: Mapping[str, Any], pens: Mapping[str, _Pen]) -> None:
    """Seconds of a step by N'; the knee marked."""
    sync = _of(plan, "sync")[0]
    pen = pens["sync"]
    axis.axhline(sync["step_s"], color=pen.colour, ls=pen.line, lw=1.6)
    for name in LOOKS:
        _line(axis, _of(plan, name), pens[name], x="concurrency", y="step_s", label=_name(name))
    knee = _chosen(plan, "knee")
    axis.annotate(
        f"knee: N'={knee['concurrency']}, {knee['gain']:.2f}x",
        (knee["concurrency"], knee["step_s"]),
        (0.98, 0.5),
        textcoords="axes fraction",
        ha="right",
        weight="bold",
        arrowprops={"arrowstyle": "->", "color": pens["copris"].colour, "shrinkB": 6},
    )
    _mark(axis, plan, pens)
    axis.set(title="Seconds of a training step", xlabel="N', responses in flight")
    axis.set_ylim(bottom=0)


def _lag(axis: Axes, plan: Mapping[str, Any], pens: Mapping[str, _Pen]) -> None:
    """Mean lag of a trained token by N'; CoPRIS's 95th percentile as a shade."""
    shaded = _of(plan, "copris")
    limits = [each["concurrency"] for each in shaded]
    tops, means = [each["lag_p95"] for each in shaded], [each["lag_mean"] for each in shaded]
    axis.fill_between(limits, means, tops, color=pens["copris"].colour, alpha=0.13, lw=0)
    axis.annotate(
        "95% of CoPRIS's tokens below",
        (limits[-1], tops[-1]),
        (-8, -4),
        textcoords="offset points",
        ha="right",
        fontsize=10.5,
        style="italic",
    )
    for name in LOOKS:
        _line(axis, _of(plan, name), pens[name], x="concurrency", y="lag_mean")
    _mark(axis, plan, pens)
    axis.set(title="Lag of a trained token", xlabel="N', responses in flight", ylabel="versions")
    axis.set_ylim(bottom=0)


def _price(axis: Axes, plan: Mapping[str, Any], pens: Mapping[str, _Pen]) -> None:
    """Throughput over sync's against the mean lag: what staleness buys."""
    for name in LOOKS:
        _line(axis, _of(plan, name), pens[name], x="lag_mean", y="gain")
    chosen = _chosen(plan, "chosen")
    axis.annotate(
        f"N'={chosen['concurrency']}",
        (chosen["lag_mean"], chosen["gain"]),
        (6, -16),
        textcoords="offset points",
        weight="bold",
    )
    axis.axhline(1.0, color=pens["sync"].colour, ls=pens["sync"].line, lw=1.0)
    axis.set(title="What staleness buys", xlabel="mean lag, versions", ylabel="samples/s over sync")


def _parts(axis: Axes, plan: Mapping[str, Any]) -> None:
    """Where the seconds of a step go, one bar for each strategy at its best allowed N'."""
    rows = _best_of_each(plan)
    ends = [0.0] * len(rows)
    for part, colour in PART_COLOURS.items():
        widths = [each["parts"][part] for each in rows]
        axis.barh(range(len(rows)), widths, 0.62, left=ends, color=colour, label=part)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    for place, each in enumerate(rows):
        text = f"{each['step_s']:.3g} s, {each['gain']:.2f}x"
        place_of: dict[str, Any] = {"textcoords": "offset points", "va": "center", "weight": "bold"}
        axis.annotate(text, (ends[place], place), (6, 0), **place_of)
    names = [f"{_name(each['strategy'])}\nN'={each['concurrency']}" for each in rows]
    axis.set_yticks(range(len(rows)), names, fontsize=10.5)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.set_xlim(0, 1.28 * max(ends))
    axis.set(title="Where a step's seconds go, each at its best", xlabel="seconds")
    axis.legend(loc="upper center", bbox_to_anchor=(0.42, -0.16), ncols=5, fontsize=10.5)


def _line(
    axis: Axes,
    rows: Sequence[Prediction],
    pen: _Pen,
    *,
    x: str,
    y: str,
    label: str | None = None,
) -> None:
    axis.plot(
        [each[x] for each in rows],
        [each[y] for each in rows],
        color=pen.colour,
        marker=pen.marker,
        ls=pen.line,
        lw=2.0,
        ms=13 if pen.marker == "*" else 6.5,
        label=label,
    )


def _mark(axis: Axes, plan: Mapping[str, Any], pens: Mapping[str, _Pen]) -> None:
    """A thin line at the recommended N'."""
    axis.axvline(plan["chosen"], color=pens["copris"].colour, ls=":", lw=1.4)


def _best_of_each(plan: Mapping[str, Any]) -> list[Prediction]:
    """sync, then of each strategy the fastest that the cap allows; of CoPRIS the recommended."""
    rows = []
    for name in LOOKS:
        found = [each for each in _of(plan, name) if each["allowed"]]
        if name == "copris":
            rows.append(_chosen(plan, "chosen"))
        elif found:
            rows.append(max(found, key=lambda each: float(each["samples_per_s"])))
    return rows


def _of(plan: Mapping[str, Any], strategy: str) -> list[Prediction]:
    return [each for each in plan["predictions"] if each["strategy"] == strategy]


def _chosen(plan: Mapping[str, Any], key: str) -> Prediction:
    (found,) = [each for each in _of(plan, "copris") if each["concurrency"] == plan[key]]
    return found


def _name(strategy: str) -> str:
    return NAMES.get(strategy, strategy)


def _pens(*, dark: bool) -> dict[str, _Pen]:
    colours = DARK_RUN_COLOURS if dark else RUN_COLOURS
    return {
        name: _Pen(colour=colours[place], marker=marker, line=line)
        for name, (place, marker, line) in LOOKS.items()
    }
