"""What a comparison of methods means, in plain sentences: over the seeds, and what confounds it.

With one seed a method the sentences are those of `notes`. Refuses to flatter: a difference within
its interval can't be told apart, and what else differed than the method is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from copris_core.report.compared import Method, RunData
from copris_core.report.config_leaves import settings, without_seed
from copris_core.report.cppo_table import FewerUpdates, fewer_updates, prunes
from copris_core.report.equal_points import curves_of
from copris_core.report.methods_stats import (
    Contrast,
    by_seed,
    difference,
    of,
    show_difference,
    show_times,
    times,
)
from copris_core.report.notes import MAX_LOGPROB_GAP, SAME_WITHIN, notes
from copris_core.report.ratios import SPEEDUPS

BATCH_KEYS = (
    "data.train_batch_size",
    "actor_rollout_ref.rollout.n",
    "mini_batches",
    "actor_rollout_ref.actor.ppo_epochs",
    "trainer.total_training_steps",
    "data.max_response_length",
    "actor_rollout_ref.actor.optim.lr",
    "trainer.test_freq",
)
CONFOUNDS = ("policy.", "task.", "platform.")
"""Beginnings of keys that belong to no method: the model, the rows, the hardware."""
MUCH_FEWER = 0.05
"""Optimizer updates further than this from the first's are named as an effect of their own."""


def methods_notes(methods: Sequence[Method], *, failures: Sequence[str] = ()) -> tuple[str, ...]:
    """Plain sentences about a comparison.

    Args:
        methods: the first is the baseline.
        failures: one line for each run that came to nothing.
    """
    several = any(len(method.runs) > 1 for method in methods)
    said = [_seeds_sentence(methods)]
    said += _over_seeds(methods) if several else _one_seed(methods)
    said += _pruning_notes(methods)
    said += _confounds(methods)
    said += _audit_notes(methods)
    said += [f"No result: {line}" for line in failures]
    return tuple(said)


def _seeds_sentence(methods: Sequence[Method]) -> str:
    """Which runs there are, and what an interval is of."""
    kinds = {method.seeds for method in methods}
    if all(len(seeds) == 1 for seeds in kinds):
        return (
            "One seed each: no interval over seeds. Errors of accuracies are those of the "
            "validation set alone, and a difference of times may be chance: add --seeds 3."
        )
    text = "; ".join(f"{x.label} {_list(x.seeds)}" for x in methods)
    who = _list(methods[0].seeds) if len(kinds) == 1 else text
    return (
        f"Seeds: {who}. Intervals are Student's t at 95% over the seeds; differences and ratios "
        "are taken seed by seed, over the seeds that both sides ran."
    )


def _one_seed(methods: Sequence[Method]) -> list[str]:
    return notes([x.runs[0].summary for x in methods], [x.label for x in methods])


def _over_seeds(methods: Sequence[Method]) -> list[str]:
    base, *others = methods
    said: list[str] = []
    for method in others:
        said += _time_sentences(method, base)
        said.append(_accuracy_sentence(method, base))
    for method in methods:
        said += _own_sentences(method)
    return said


def _time_sentences(method: Method, base: Method) -> list[str]:
    """Per training step, and per second of generation."""
    said = []
    for key, what in (
        ("steps_wall", "in seconds per training step"),
        ("samples_per_s", "in samples per second of generation"),
    ):
        found = times(*(by_seed(x, of(SPEEDUPS[key])) for x in (method, base)))
        if found is None:
            said.append(f"{method.label} and {base.label} can't be compared {what}: not measured.")
        elif not _differs(found):
            said.append(
                f"{method.label} and {base.label} can't be told apart {what}: {show_times(found)}."
            )
        else:
            way = "SLOWER" if found.estimate < 1 else "faster"
            chance = "" if found.interval else ", from less than two pairs, so maybe by chance"
            said.append(
                f"{method.label} was {way} than {base.label} {what}: {show_times(found)}{chance}."
            )
    return said


def _accuracy_sentence(method: Method, base: Method) -> str:
    sides = [by_seed(x, of(lambda run: run.accuracy.after)) for x in (method, base)]
    found = difference(*sides)
    if found is None:
        return f"The accuracies of {method.label} and {base.label} can't be compared: not measured."
    number = show_difference(found, 3)
    if not found.differs_from(0):
        why = "" if found.interval else " (fewer than two common seeds)"
        return (
            f"The accuracies of {method.label} and {base.label} can't be told apart: difference "
            f"{number}{why}."
        )
    way = "LOWER" if found.estimate < 0 else "higher"
    return f"{method.label} ended {way} in accuracy than {base.label}: {number}."


def _own_sentences(method: Method) -> list[str]:
    """What a reader should know of one method, the baseline included."""
    said = []
    before, after = (
        by_seed(method, of(read))
        for read in (lambda run: run.accuracy.before, lambda run: run.accuracy.after)
    )
    gain = difference(after, before)
    if gain is None:
        said.append(f"{method.label}: accuracy was not measured both before and after training.")
    elif gain.interval is not None and gain.interval.low <= 0:
        number = show_difference(gain, 3)
        said.append(f"{method.label} did NOT clearly raise accuracy: {number}.")
    gaps = [run.summary.max_logprob_gap for run in method.runs]
    known = [gap for gap in gaps if gap is not None]
    if len(known) < len(gaps):
        said.append(f"{method.label}: the engine-trainer log-prob gap was not always measured.")
    if known and max(known) > MAX_LOGPROB_GAP:
        said.append(
            f"{method.label}: engine and trainer log-probs differ by up to {max(known):.1e}, MORE "
            f"than {MAX_LOGPROB_GAP:.0e}."
        )
    return said


# ---- what weakens the comparison ----


def _pruning_notes(methods: Sequence[Method]) -> list[str]:
    """Part of a ratio at equal prompts is training less; say how much."""
    pruned = [x.label for x in methods if prunes(x.runs[0].config)]
    if not pruned:
        return []
    base, found = methods[0].label, fewer_updates(curves_of(methods))
    said = [_fewer_sentence(x, base) for x in found if _much_fewer(x)]
    same = [x.label for x in found if x.label in pruned and not _much_fewer(x)]
    return said + [
        f"{label} made as many optimizer updates as {base} at equal prompts: no part of its time "
        "ratio is training fewer updates, as it is in the paper's."
        for label in same
    ]


def _much_fewer(found: FewerUpdates) -> bool:
    return abs(found.updates.estimate - 1) > MUCH_FEWER


def _fewer_sentence(found: FewerUpdates, base: str) -> str:
    share = found.updates.estimate
    less = "FEWER" if share < 1 else "more"
    equal = "unknown" if found.by_updates is None else show_times(found.by_updates)
    return (
        f"{found.label} made {less} optimizer updates than {base} at equal prompts: {share:.2f}x. "
        f"Its time ratio there, {show_times(found.by_prompts)}, holds a factor of {1 / share:.2f} "
        f"that is no speed but training {'less' if share < 1 else 'more'}; at equal updates the "
        f"ratio is {equal}."
    )


def _confounds(methods: Sequence[Method]) -> list[str]:
    """Differences which no method should be credited with."""
    base, *others = methods
    said = []
    for method in others:
        said += _config_confounds(method, base)
        said += _unpaired(method, base)
    return said + _mixed_runs(methods)


def _config_confounds(method: Method, base: Method) -> list[str]:
    ours, theirs = (without_seed(settings(x.runs[0].config)) for x in (method, base))
    if not ours or not theirs:
        return [f"{method.label} or {base.label} has no config: other settings may differ too."]
    if ours == theirs:
        return [
            f"{method.label} and {base.label} have the same settings: what differs is chance, the "
            "source or the machine."
        ]
    keys = sorted(ours.keys() | theirs.keys())
    other = [
        f"{key}={ours.get(key, 'absent')} (not {theirs.get(key, 'absent')})"
        for key in keys
        if (key in BATCH_KEYS or key.startswith(CONFOUNDS)) and ours.get(key) != theirs.get(key)
    ]
    if not other:
        return []
    return [f"Besides its method {method.label} had other settings: {', '.join(other)}."]


def _unpaired(method: Method, base: Method) -> list[str]:
    if method.seeds == base.seeds:
        return []
    common = sorted(set(method.seeds) & set(base.seeds))
    return [
        f"{method.label} ran seeds {_list(method.seeds)}, {base.label} {_list(base.seeds)}: paired "
        f"are {_list(common) if common else 'none'}."
    ]


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _mixed_runs(methods: Sequence[Method]) -> list[str]:
    """Source, packages and machine should be one throughout."""
    facts: tuple[tuple[str, Callable[[RunData], object]], ...] = (
        ("revisions of the source", lambda run: run.summary.revision),
        ("versions of the packages", lambda run: sorted(run.summary.packages.items())),
        ("machines", lambda run: sorted((k, str(v)) for k, v in run.machine.items())),
    )
    said = []
    for words, read in facts:
        by_value: dict[str, list[str]] = {}
        for method in methods:
            for run in method.runs:
                if value := read(run):  # what nobody noted is not known to differ
                    name = f"{method.label} seed {run.summary.seed}"
                    by_value.setdefault(str(value), []).append(name)
        if len(by_value) > 1:
            parts = "; ".join(", ".join(names) for names in by_value.values())
            said.append(f"The runs come from different {words}: {parts}.")
    return said


def _audit_notes(methods: Sequence[Method]) -> list[str]:
    return [
        f"{method.label}, seed {run.summary.seed}: the ledger shows {len(run.audit.lost)} LOST and "
        f"{len(run.audit.duplicated)} done twice; see copris audit."
        for method in methods
        for run in method.runs
        if run.audit is not None and not run.audit.ok
    ]


def _differs(ratio: Contrast) -> bool:
    """By the interval; without one by the number, as far as it is not close to 1."""
    clear = ratio.differs_from(1)
    return abs(ratio.estimate - 1) > SAME_WITHIN if clear is None else clear
