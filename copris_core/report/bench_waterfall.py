"""Where the seconds of training steps went: the bubble waterfall of one cell.

A step's generation is the window of its first ``timing_s/generate`` seconds. What the engine did in
the window is read from its log; the rest of the step from the trainer's timers. Every second is in
exactly one piece. Seconds of several engines are averaged over the engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from copris_core.report.bench_curve import CostCurve, CurvePoint, Floats, curve_points, fit
from copris_core.report.engine_steps import EngineSteps


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """Seconds by what they were spent on, summed over the counted steps."""

    generate_full: float
    """Engine busy, times running / width: what generating at full width would have taken."""
    tail_bubble: float
    """Engine busy, times 1 - running / width: slots that were paid for and empty."""
    prefill_again: float
    """Engine busy with prefixes that it had computed before: of an iteration with prefill, the
    excess over a decode-only one of like ``running``, by the share of its step's prefilled tokens
    that were prefilled again. 0 where that share is unknown."""
    engine_gap: float
    """Inside generation, between two iterations: scheduler, output handling, messages, and
    requests that had not yet arrived."""
    waiting: float
    """Inside generation, before the first and after the last iteration: start, stop latency, polls,
    the queue, and the whole of a generation without an iteration."""
    unsplit: float
    """Generation that no engine log tells apart; 0 with one."""
    log_prob: float
    """Log-probs by the training engine: of the behaviour policy and of the reference."""
    update: float
    """The policy update."""
    sync: float
    """Weights moved to the engine."""
    other: float
    """The rest of the step: reward, advantages, data, book-keeping."""

    @property
    def total(self) -> float:
        """Seconds of the steps."""
        return float(sum(asdict(self).values()))


@dataclass(frozen=True, kw_only=True)
class EngineReading:
    """What the engine log tells of the counted steps' generation."""

    num_engines: int
    """Engine processes."""
    occupancy: float
    """Mean of min(1, running / width), each iteration weighted by its seconds; in [0, 1]."""
    decode_iterations: int
    """Iterations that sampled a token, over all engines."""
    decode_s: float
    """Their seconds, over all engines."""
    decode_tokens: int
    """Tokens sampled, over all engines."""
    prefill_tokens: int
    """Prompt tokens computed, over all engines."""
    outside_s: float
    """Seconds in which an engine was busy in a counted step but outside its generation; they are
    in the piece of whatever the trainer did then."""
    curve: tuple[CurvePoint, ...]
    """Seconds from the begin of an iteration to that of the next, by requests in it; of iterations
    without prefill, which would be taken for the price of a width seldom reached."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """One counted step as the engine log needs it."""

    begin_s: float
    """Unix time at which the step began."""
    generate_s: float
    """Seconds of its generation, which comes first."""
    step_s: float
    """Seconds of the whole step."""
    width: float
    """Responses that could be in flight, over all engines."""
    prefilled_again: float | None
    """Response tokens sent to an engine again; None: not told apart."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Inside:
    """Iterations of one engine inside one window, cut to it; they never overlap."""

    steps: EngineSteps
    start_s_N: Floats
    end_s_N: Floats

    @property
    def busy_s_N(self) -> Floats:
        return self.end_s_N - self.start_s_N

    def filled_N(self, width: float) -> Floats:
        """Share of ``width`` that ran."""
        return np.minimum(1.0, self.steps.running_N / width)

    @property
    def gap_s(self) -> float:
        return float((self.start_s_N[1:] - self.end_s_N[:-1]).sum())


def split_generation(
    windows: Sequence[Window], steps: EngineSteps
) -> tuple[dict[str, float], EngineReading]:
    """The five pieces of the windows' generation, summed, and what the engine log tells besides."""
    engines = [steps.of_engine(engine) for engine in np.unique(steps.engine_N)]
    inside = [[_cut(window, engine) for window in windows] for engine in engines]
    alone = fit(_decode_only([cut for cuts in inside for cut in cuts]))
    pieces: dict[str, float] = {}
    for cuts in inside:
        for window, cut in zip(windows, cuts, strict=True):
            for name, seconds in _pieces(window, cut, alone, len(engines)).items():
                pieces[name] = pieces.get(name, 0.0) + seconds / len(engines)
    outside_s = sum(_outside_s(window, engine) for engine in engines for window in windows)
    return pieces, _reading(windows, inside, outside_s)


def _cut(window: Window, engine: EngineSteps) -> _Inside:
    begin_s, end_s = window.begin_s, window.begin_s + window.generate_s
    start_N = np.maximum(engine.begin_s_N, begin_s)
    stop_N = np.minimum(engine.begin_s_N + engine.seconds_N, end_s)
    chosen_N = stop_N > start_N
    start_N, stop_N = start_N[chosen_N], stop_N[chosen_N]
    # An engine may begin an iteration while the last one still copies its tokens out.
    stop_N = np.maximum.accumulate(stop_N)
    start_N[1:] = np.maximum(start_N[1:], stop_N[:-1])
    return _Inside(steps=engine.where(chosen_N), start_s_N=start_N, end_s_N=stop_N)


def _outside_s(window: Window, engine: EngineSteps) -> float:
    begin_s, end_s = window.begin_s + window.generate_s, window.begin_s + window.step_s
    start_N = np.maximum(engine.begin_s_N, begin_s)
    stop_N = np.minimum(engine.begin_s_N + engine.seconds_N, end_s)
    return float(np.maximum(0.0, stop_N - start_N).sum())


def _decode_only(cuts: Sequence[_Inside]) -> tuple[CurvePoint, ...]:
    running_N = np.concatenate([cut.steps.running_N for cut in cuts])
    seconds_N = np.concatenate([cut.steps.seconds_N for cut in cuts])
    alone_N = np.concatenate([cut.steps.prefill_tokens_N for cut in cuts]) == 0
    return curve_points(running_N[alone_N], seconds_N[alone_N])


def _pieces(
    window: Window, cut: _Inside, alone: CostCurve | None, num_engines: int
) -> dict[str, float]:
    """Seconds of each piece in one window of one engine; together they are ``generate_s``."""
    busy_s_N = cut.busy_s_N
    again_s_N = busy_s_N * 0.0
    prefill_N = cut.steps.prefill_tokens_N
    if alone is not None and window.prefilled_again and prefill_N.sum():
        share = min(1.0, window.prefilled_again / num_engines / float(prefill_N.sum()))
        excess_s_N = np.clip(busy_s_N - alone.at_all(cut.steps.running_N), 0.0, None)
        again_s_N = np.where(prefill_N > 0, share * excess_s_N, 0.0)
    filled_N = cut.filled_N(window.width / num_engines)
    rest_s_N = busy_s_N - again_s_N
    return {
        "generate_full": float((rest_s_N * filled_N).sum()),
        "tail_bubble": float((rest_s_N * (1 - filled_N)).sum()),
        "prefill_again": float(again_s_N.sum()),
        "engine_gap": cut.gap_s,
        "waiting": window.generate_s - float(busy_s_N.sum()) - cut.gap_s,
    }


def _reading(
    windows: Sequence[Window], inside: Sequence[Sequence[_Inside]], outside_s: float
) -> EngineReading:
    pairs = [pair for cuts in inside for pair in zip(windows, cuts, strict=True)]
    busy_s = sum(float(cut.busy_s_N.sum()) for _, cut in pairs)
    filled_s = sum(
        float((cut.busy_s_N * cut.filled_N(window.width / len(inside))).sum())
        for window, cut in pairs
    )
    alone = [(cut.steps.prefill_tokens_N[:-1] == 0, cut) for _, cut in pairs]
    decoding = [cut.steps.where(cut.steps.decode_tokens_N > 0) for _, cut in pairs]
    return EngineReading(
        num_engines=len(inside),
        occupancy=filled_s / busy_s if busy_s else 0.0,
        decode_iterations=sum(len(each.seconds_N) for each in decoding),
        decode_s=sum(float(each.seconds_N.sum()) for each in decoding),
        decode_tokens=sum(int(each.decode_tokens_N.sum()) for each in decoding),
        prefill_tokens=sum(int(cut.steps.prefill_tokens_N.sum()) for _, cut in pairs),
        outside_s=outside_s,
        curve=curve_points(
            np.concatenate([cut.steps.running_N[:-1][chosen_N] for chosen_N, cut in alone]),
            np.concatenate([np.diff(cut.start_s_N)[chosen_N] for chosen_N, cut in alone]),
        ),
    )
