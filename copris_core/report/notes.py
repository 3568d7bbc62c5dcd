"""What a comparison means, in plain sentences.

Refuses to flatter: a slower method is called SLOWER, a lower accuracy LOWER, and what was not
measured is said to be so.
"""

from __future__ import annotations

from collections.abc import Sequence

from copris_core.evaluation.intervals import rate_difference
from copris_core.report.ratios import labels, per_second, per_step, ratio, speedup
from copris_core.report.summary import WARMUP_STEPS, Summary

MAX_LOGPROB_GAP = 1e-4
"""Above this the engine and the trainer do not compute one policy, and ratios are not to trust."""
SAME_WITHIN = 0.015
"""Ratios this close to 1 are called the same; the number is printed all the same."""
NOTED_CHANGE = 0.05
"""A count (samples, tokens) is called different when it departs from the first's by more."""


def notes(summaries: Sequence[Summary], names: Sequence[str] | None = None) -> list[str]:
    """Plain sentences, per run: time, work done, accuracy, and what is odd of each.

    Args:
        summaries: the first is the baseline.
        names: what the runs are called; None: by their experiments.
    """
    names, first = names or labels(summaries), summaries[0]
    said: list[str] = []
    for name, run in list(zip(names, summaries, strict=True))[1:]:
        ratios = speedup(run, first)
        said += _time_notes(name, names[0], ratios)
        said += _work_notes(name, names[0], run, first, ratios)
        said += _accuracy_notes(name, names[0], run, first)
    for name, run in zip(names, summaries, strict=True):
        said += _own_notes(name, run)
    return said


def _time_notes(name: str, base: str, ratios: dict[str, float | None]) -> list[str]:
    return [_wall_sentence(name, base, ratios), _rate_sentence(name, base, ratios)]


def _wall_sentence(name: str, base: str, ratios: dict[str, float | None]) -> str:
    """Training steps and the whole run; the latter holds start-up and validation too."""
    steps, whole = ratios["steps_wall"], ratios["wall"]
    if steps is None or whole is None:
        return f"{name} and {base} can't be compared in wall time: not both were timed."
    paces = [
        _word(x, less="SLOWER than", same="about as fast as", more="faster than")
        for x in (steps, whole)
    ]
    numbers = f"{steps:.2f}x per training step, {whole:.2f}x over the whole run"
    if paces[0] == paces[1]:
        return f"{name} was {paces[0]} {base} in wall time: {numbers}."
    return f"{name} was {paces[0]} {base} per training step but {paces[1]} it overall: {numbers}."


def _rate_sentence(name: str, base: str, ratios: dict[str, float | None]) -> str:
    """Without the first steps where that is known: the first run to be trained warms up for all."""
    whole, steady = ratios["samples_per_s"], ratios["samples_per_s_steady"]
    times = whole if steady is None or whole is None else steady
    if times is None:
        return f"{name} and {base} can't be compared in samples per second: not both were measured."
    amount = _word(times, less="FEWER", same="about as many", more="more")
    numbers = f"{times:.2f}x {base}'s"
    if steady is not None and whole is not None:
        numbers += f" without the first {WARMUP_STEPS} steps, {whole:.2f}x with them"
    return f"{name} finished {amount} samples per second of generation: {numbers}."


def _work_notes(
    name: str, base: str, run: Summary, first: Summary, ratios: dict[str, float | None]
) -> list[str]:
    """Where equal steps did not mean equal work."""
    said = []
    if run.steps != first.steps:
        said.append(
            f"{name} ran {run.steps} steps, {base} {first.steps}: seconds are compared per step."
        )
    if _differs(samples := ratio(per_step(run.samples, run), per_step(first.samples, first))):
        said.append(
            f"At equal steps {name} finished {samples:.2f}x the samples of {base}; at equal "
            f"samples its training steps ran at {_times(ratios['samples_wall'])} the speed."
        )
    trained = ratio(per_step(run.trained_tokens, run), per_step(first.trained_tokens, first))
    if _differs(trained):
        said.append(f"At equal steps {name} trained on {trained:.2f}x the tokens of {base}.")
    costs = [per_second(x.generated_tokens, x.samples) for x in (run, first)]
    if _differs(cost := ratio(*costs)):
        said.append(
            f"{name} generated {cost:.2f}x the tokens of {base} for each finished sample, so read "
            f"its tokens per second of generation too: {_times(ratios['tokens_per_s'])}."
        )
    if run.optimizer_updates != first.optimizer_updates:
        updates = [_known(x.optimizer_updates) for x in (run, first)]
        said.append(f"{name} made {updates[0]} optimizer updates, {base} {updates[1]}.")
    return said


def _accuracy_notes(name: str, base: str, run: Summary, first: Summary) -> list[str]:
    """Newcombe's interval on the difference; the unpaired one, as only the rates are at hand."""
    ours, theirs = run.accuracy, first.accuracy
    if ours.after is None or theirs.after is None or not ours.n or not theirs.n:
        return [f"The accuracies of {name} and {base} can't be compared: not both were measured."]
    gap = rate_difference(ours.after, ours.n, baseline=theirs.after, baseline_n=theirs.n)
    numbers = (
        f"{ours.after:.3f} against {theirs.after:.3f}, difference {gap.estimate:+.3f}, "
        f"95% interval {gap.low:+.3f} to {gap.high:+.3f}"
    )
    if not gap.excludes(0):
        return [f"The accuracies of {name} and {base} can't be told apart: {numbers}."]
    way = "LOWER" if gap.estimate < 0 else "higher"
    return [f"{name} ended {way} in accuracy than {base}: {numbers}."]


def _own_notes(name: str, run: Summary) -> list[str]:
    """What a reader should know of one run, the baseline included."""
    said = []
    before, after, n = run.accuracy.before, run.accuracy.after, run.accuracy.n
    if before is None or after is None or not n:
        said.append(f"{name}: accuracy was not measured both before and after training.")
    elif not rate_difference(after, n, baseline=before, baseline_n=n).low > 0:
        said.append(f"{name} did NOT clearly raise accuracy: {before:.3f} to {after:.3f}.")
    if run.max_logprob_gap is None:
        said.append(f"{name}: the engine-trainer log-prob gap was not measured at every step.")
    elif run.max_logprob_gap > MAX_LOGPROB_GAP:
        said.append(
            f"{name}: engine and trainer log-probs differ by up to {run.max_logprob_gap:.1e}, "
            f"MORE than {MAX_LOGPROB_GAP:.0e}."
        )
    return said


def _word(times: float, *, less: str, same: str, more: str) -> str:
    if abs(times - 1) <= SAME_WITHIN:
        return same
    return less if times < 1 else more


def _differs(times: float | None) -> bool:
    return times is not None and abs(times - 1) > NOTED_CHANGE


def _times(times: float | None) -> str:
    return "an unmeasured ratio of" if times is None else f"{times:.2f}x"


def _known(value: int | None) -> str:
    return "an unknown number of" if value is None else str(value)
