"""Shows a `WatchState`: at most 24 lines, from 60 columns on; or one plain line a step.

Refuses to read files and to know the clock: the caller says how old the last row is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields

from rich.text import Text

from copris_core.report.numbers import UNKNOWN, show, show_gap, show_seconds
from copris_core.report.summary import Phases
from copris_core.report.watch import STEP_S, WatchState, shares
from copris_core.report.watch_marks import Marks, bar, history, widths

LABEL_WIDTH, NOW_WIDTH = 13, 11
MIN_HISTORY, MAX_HISTORY = 8, 60
MAX_REMARK = 44
COLOURS = ("cyan", "blue", "magenta", "green", "yellow", "white")
"""One a phase, in the order of `Phases`."""

GAP_WARNS_AT = 0.5
"""Part of run/max_logprob_gap, at which the run ends, that is shown in yellow."""
LOW_OCCUPANCY = 0.5
"""Below it most of the limit N' is unused."""
MANY_CUT = 0.2
"""Share of responses cut at the length limit above which their score says little."""
SILENT_STEPS, SILENT_S = 10, 120.0
"""A run that wrote nothing for so many validated steps, and for so many seconds, is suspect."""

GOOD, WARN, BAD = "bold", "bold yellow", "bold red"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How and about what the view is drawn."""

    title: str
    """Name of the run."""
    age_s: float
    """Seconds since the last row was written."""
    width: int
    """Columns."""
    marks: Marks
    """Characters of histories and bars."""
    went_back: bool = False
    """Whether the run went on from an earlier step since it is watched."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One metric."""

    label: str
    """What it is."""
    now: str
    """Its last value."""
    past: Sequence[float | None] | float = ()
    """Its history, or a share in [0, 1] to be shown as a bar."""
    remark: str = ""
    """What else there is to say."""
    style: str = GOOD
    """Of the last value."""


def render(state: WatchState, shown: Shown) -> list[Text]:
    """The view, line by line, none wider than ``shown.width``."""
    lines = [*_head(state, shown), *(_drawn(line, shown) for line in _metrics(state))]
    lines += _phases(state, shown)
    for line in lines:
        line.truncate(shown.width, overflow="crop")
    return lines


def plain_line(state: WatchState, age_s: float = 0.0) -> str:
    """The state in one line, for a log file."""
    total = UNKNOWN if state.total_steps is None else state.total_steps
    accuracy = state.validations[-1][1] if state.validations else None
    words = [
        f"step {state.step}/{total}",
        f"reward {show(state.scores[-1] if state.scores else None, 3)}",
        f"accuracy {show(accuracy, 3)}",
        f"in flight {_in_flight(state)}",
        f"queue {show(state.now('rollout/unfinished'), 0)}",
        f"step {show_seconds(state.now(STEP_S))}",
        _left(state, age_s),
    ]
    return "  ".join(words)


# ---- the head ----


def _head(state: WatchState, shown: Shown) -> Iterator[Text]:
    total = state.total_steps
    share = state.step / total if total else 0.0
    steps = f"step {state.step}" + (f"/{total}  {share:.0%}" if total else "")
    room = shown.width - len(steps) - 2
    title = shown.title if len(shown.title) <= room else shown.title[-room:]
    gap = " " * (shown.width - len(title) - len(steps))
    yield Text.assemble((title, "bold"), gap, (steps, "bold"))
    done, rest = bar(share, shown.width, shown.marks)
    yield Text.assemble((done, "green"), (rest, "dim"))
    yield _times(state, shown)


def _times(state: WatchState, shown: Shown) -> Text:
    if not state.steps:
        waiting = "waiting for the first row of metrics.jsonl, which takes minutes"
        return Text(waiting, style="cyan")
    words = Text(f"{show_seconds(state.elapsed_s)} gone, {_left(state, shown.age_s)}")
    if state.is_done:
        return words
    pace = (state.step_s or 0.0) + state.validation_s
    silent = shown.age_s > max(SILENT_S, SILENT_STEPS * pace)
    words.append(f", last row {show_seconds(shown.age_s)} ago", style=BAD if silent else "")
    if silent:
        words.append(": has it died?", style=BAD)
    elif shown.went_back:
        words.append("; went on from an earlier step", style="yellow")
    return words


def _left(state: WatchState, age_s: float) -> str:
    if state.is_done:
        return "done"
    left = state.left_s
    return f"{UNKNOWN} left" if left is None else f"{show_seconds(max(0.0, left - age_s))} left"


# ---- one line a metric ----


def _metrics(state: WatchState) -> Iterator[Line]:
    for line in (each(state) for each in LINES):
        if line is not None:
            yield line


def _reward(state: WatchState) -> Line:
    scores = state.scores
    last, trained = (scores[-1] if scores else None), state.now("reward/mean")
    cut = state.now("reward/truncated_fraction")
    remarks = []
    if trained is not None and last is not None and abs(trained - last) > 5e-4:
        remarks.append(f"after shaping {trained:.3f}")
    if cut:
        remarks.append(f"cut {cut:.0%}")
    style = BAD if state.is_broken("reward/mean") else WARN if (cut or 0) > MANY_CUT else GOOD
    return _line("reward", last, scores, remarks, style=style)


def _accuracy(state: WatchState) -> Line:
    found = state.validations
    if not found:
        return Line(label="accuracy", now=UNKNOWN, remark="not validated yet")
    (step, last), (best_step, best) = found[-1], max(found, key=lambda each: each[1])
    remark = f"at step {step}; best {best:.3f} at {best_step}"
    past = [accuracy for _, accuracy in found]
    return Line(label="accuracy", now=f"{last:.3f}", past=past, remark=remark)


def _domains(state: WatchState) -> Line | None:
    told = ", ".join(f"{name} {value:.2f}" for name, value in state.domains.items())
    return Line(label="  by domain", now="", remark=told) if told else None


def _length(state: WatchState) -> Line:
    keys = "length/drawn_mean", "length/trained_mean"
    p50, p99 = state.now("length/drawn_p50"), state.now("length/drawn_p99")
    remark = f"median {p50:.0f}, p99 {p99:.0f}" if p50 is not None and p99 is not None else ""
    return _line("length", state.now(*keys), state.history(*keys), [remark], digits=1)


def _entropy(state: WatchState) -> Line | None:
    return _optional(state, "entropy", ("update/entropy", "prorl/entropy"))


def _grad_norm(state: WatchState) -> Line | None:
    clip, kl = state.now("update/clip_fraction"), state.now("update/behaviour_kl")
    remarks = [] if clip is None else [f"clipped {clip:.2%}"]
    remarks += [] if kl is None else [f"behaviour KL {show_gap(kl)}"]
    return _optional(state, "grad norm", ("update/grad_norm",), remarks)


def _kl(state: WatchState) -> Line | None:
    coefficient = state.now("prorl/kl_coefficient", "update/kl_coefficient")
    resets, since = state.now("prorl/reset_count"), state.now("prorl/steps_since_reset")
    remarks = [] if coefficient is None else [f"coef. {coefficient:.3g}"]
    if resets:
        remarks.append(f"{resets:.0f} resets, last {show(since, 0)} steps ago")
    keys = ("prorl/kl_divergence", "update/kl_loss")
    return _optional(state, "KL to ref", keys, remarks, write=show_gap)


def _flight(state: WatchState) -> Line | None:
    limit, flying = state.now("rollout/limit"), state.now("rollout/in_flight")
    if flying is None:
        return None
    share = flying / limit if limit else 0.0
    cut = state.now("rollout/interrupted")
    remarks = [f"{share:.0%} of N'"] if limit else []
    remarks += [] if cut is None else [f"{cut:.0f} interrupted"]
    style = WARN if limit and share < LOW_OCCUPANCY else GOOD
    return Line(
        label="in flight/N'", now=_in_flight(state), past=share, remark=", ".join(remarks),
        style=style,
    )  # fmt: skip


def _queue(state: WatchState) -> Line | None:
    ready = state.now("rollout/carried_groups")
    remark = "responses wait at the gate" + ("" if ready is None else f", {ready:.0f} groups ready")
    return _optional(state, "queue", ("rollout/unfinished",), [remark], digits=0)


def _samples(state: WatchState) -> Line | None:
    finished, trained = state.now("samples/finished"), state.now("samples/trained")
    useless = state.now("filter/groups_filtered")
    if trained is None:
        return None
    rates = [
        count / seconds if count is not None and seconds else None
        for count, seconds in zip(
            state.history("tokens/generated", "tokens/trained"), state.history(STEP_S), strict=True
        )
    ]
    told = f"trained {trained:.0f}" + ("" if finished is None else f" of {finished:.0f}")
    told += f", {useless:.0f} groups filtered" if useless else ""
    return Line(label="tokens/s", now=show(rates[-1], 0), past=rates, remark=told)


def _staleness(state: WatchState) -> Line | None:
    highest, fresh = state.now("staleness/lag_max"), state.now("staleness/on_policy_token_fraction")
    segments = state.now("staleness/segments_per_sample")
    remarks = [] if highest is None else [f"max {highest:.0f}"]
    remarks += [] if fresh is None else [f"on policy {fresh:.0%}"]
    remarks += [] if segments is None else [f"{segments:.2f} segments"]
    return _optional(state, "lag", ("staleness/lag_mean",), remarks, digits=2)


def _gap(state: WatchState) -> Line | None:
    """A step that trained no fresh token measures none; then the last one that did counts."""
    key, bound = "logprob_gap/mean", state.now("run/max_logprob_gap")
    measured = [row for row in state.trained if key in row]
    if not measured:
        return None
    mean, highest = measured[-1][key], measured[-1].get("logprob_gap/max")
    style = BAD if mean is None else GOOD
    if mean is not None and bound is not None and mean > GAP_WARNS_AT * bound:
        style = BAD if mean > bound else WARN
    remarks = [] if highest is None else [f"max {show_gap(highest)}"]
    remarks += [] if bound is None else [f"the mean may be {bound:g}"]
    told = "NaN" if mean is None else show_gap(mean)
    past = state.history(key)
    return Line(label="logprob gap", now=told, past=past, remark=", ".join(remarks), style=style)


LINES: tuple[Callable[[WatchState], Line | None], ...] = (
    *(_reward, _accuracy, _domains, _length, _entropy, _grad_norm, _kl),
    *(_flight, _queue, _samples, _staleness, _gap),
)
"""Every line, top to bottom; None is a line that the run has no use for."""


def _line(
    label: str,
    value: float | None,
    past: Sequence[float | None],
    remarks: Sequence[str],
    *,
    digits: int = 3,
    style: str = GOOD,
) -> Line:
    return Line(
        label=label, now=show(value, digits), past=past, remark=", ".join(remarks), style=style
    )


def _optional(
    state: WatchState,
    label: str,
    keys: tuple[str, ...],
    remarks: Sequence[str] = (),
    *,
    digits: int = 3,
    write: Callable[[float | None], str] | None = None,
    style: str = GOOD,
) -> Line | None:
    """A metric that no step may have; NaN in the last one is said in red."""
    if not any(key in row for row in state.trained for key in keys):
        return None
    value = state.now(*keys)
    told = show(value, digits) if write is None else write(value)
    if value is None and any(state.is_broken(key) for key in keys):
        told, style = "NaN", BAD
    return Line(
        label=label, now=told, past=state.history(*keys), remark=", ".join(remarks), style=style
    )


def _in_flight(state: WatchState) -> str:
    return f"{show(state.now('rollout/in_flight'), 1)}/{show(state.now('rollout/limit'), 0)}"


def _drawn(line: Line, shown: Shown) -> Text:
    room = shown.width - LABEL_WIDTH - NOW_WIDTH
    remark_width = min(MAX_REMARK, room - MIN_HISTORY - 2)
    wide = min(MAX_HISTORY, room - remark_width - 2)
    text = Text.assemble(
        (f"{line.label:<{LABEL_WIDTH}}", "dim"), (f"{line.now:>{NOW_WIDTH - 1}} ", line.style)
    )
    if isinstance(line.past, float):
        reached, rest = bar(line.past, wide, shown.marks)
        text.append(reached, style="cyan").append(rest, style="dim")
    elif line.past or line.now:
        text.append(f"{history(line.past, wide, shown.marks):<{wide}}", style="cyan")
    return text.append(f"  {line.remark}" if line.now else line.remark)


# ---- phases ----


def _phases(state: WatchState, shown: Shown) -> Iterator[Text]:
    """Where the last step's seconds went: a stacked bar and its legend."""
    names = [each.name for each in fields(Phases)]
    seconds = Phases(**{name: state.now(f"timing_s/{name}") for name in names})
    parts = shares(list(asdict(seconds).values()))
    if not any(parts):
        return
    pace = state.step_s
    yield Text.assemble(
        ("last step    ", "dim"), (f"{show_seconds(state.now(STEP_S)):>{NOW_WIDTH - 1}}", GOOD),
        f"  median {show_seconds(pace)}, validation {show_seconds(state.validation_s or None)}",
    )  # fmt: skip
    fills = list(zip(shown.marks.fills, COLOURS, widths(parts, shown.width), strict=True))
    yield Text.assemble(*((fill * wide, colour) for fill, colour, wide in fills))
    yield from _legend(names, parts, asdict(seconds), shown)


def _legend(
    names: Sequence[str], parts: Sequence[float], seconds: dict[str, float | None], shown: Shown
) -> Iterator[Text]:
    """The phases that took time, as many a line as there is room for."""
    line = Text()
    for i, (name, part) in enumerate(zip(names, parts, strict=True)):
        if not part:
            continue
        told = f" {name.replace('_', ' ')} {part:.0%} {show_seconds(seconds[name])}"
        if line and len(line) + 3 + len(told) > shown.width:
            yield line
            line = Text()
        line.append("  " if line else "")
        line.append(shown.marks.fills[i], style=COLOURS[i]).append(told)
    if line:
        yield line
