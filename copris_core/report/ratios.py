"""Names for runs and ratios between them.

Every ratio says how many times better than the first run, so that below 1 is worse. Refuses to
fill gaps: a ratio with an unmeasured side is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from copris_core.report.summary import Summary

Measure = Callable[[Summary], float | None]


def labels(summaries: Sequence[Summary]) -> list[str]:
    """One distinct name a run: its experiment, with seed and number where that is not enough."""
    names = [x.experiment for x in summaries]
    if len(set(names)) < len(names):
        names = [f"{x.experiment} seed {x.seed}" for x in summaries]
    if len(set(names)) < len(names):
        names = [f"{name} #{i}" for i, name in enumerate(names, start=1)]
    return names


def per_step(amount: float | None, run: Summary) -> float | None:
    """``amount`` of the whole run over its training steps."""
    return amount / run.steps if amount is not None and run.steps else None


def per_second(amount: float | None, seconds: float | None) -> float | None:
    """``amount`` over ``seconds``; None if either is unknown or no time passed."""
    return amount / seconds if amount is not None and seconds else None


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """``ours / theirs``; None if either is unknown or ``theirs`` is 0."""
    return ours / theirs if ours is not None and theirs else None


SPEEDUPS: dict[str, Measure] = {
    "samples_per_s": lambda x: x.samples_per_s,
    "samples_per_s_steady": lambda x: x.samples_per_s_steady,
    "tokens_per_s": lambda x: per_second(x.generated_tokens, x.phases.generate),
    "wall": lambda x: per_second(x.steps, x.wall_s),
    "steps_wall": lambda x: per_second(x.steps, x.phases.total_s),
    "samples_wall": lambda x: per_second(x.samples, x.phases.total_s),
    "generate_s": lambda x: per_second(x.steps, x.phases.generate),
    "update_s": lambda x: per_second(x.steps, x.phases.update),
}
"""What each ratio compares, always an amount per second, so that more is better everywhere.

``samples_per_s`` and ``tokens_per_s`` are of the generate phase. ``wall`` is the whole run with
start-up and validation, ``steps_wall`` the training steps alone (the equal-steps reading),
``samples_wall`` finished responses per second of the training steps (equal samples);
``generate_s`` and ``update_s`` are that phase's seconds per step.
"""


def speedup(run: Summary, first: Summary) -> dict[str, float | None]:
    """Ratios of ``run`` over ``first``; above 1 is better, None where a side was not measured."""
    return {name: ratio(measure(run), measure(first)) for name, measure in SPEEDUPS.items()}
