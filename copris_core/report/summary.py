"""What one run came to: metrics rows in, one `Summary` out, and its JSON both ways.

Refuses to guess: what no row measured is None (null in summary.json), never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from copris_core.evaluation.intervals import binomial_stderr
from copris_core.report.run_folder import Row

WARMUP_STEPS = 2
"""First training steps left out of the steady rate: the engine warms up, and a partial-rollout
run still fills its slots, so that their rate says little about the steps after them."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Seconds of each phase, summed over the training steps; None where no step timed it."""

    generate: float | None
    """Seconds of sampling responses."""
    old_log_prob: float | None
    """Seconds of recomputing behaviour log-probs with the training engine."""
    ref: float | None
    """Seconds of the reference policy's log-probs."""
    update: float | None
    """Seconds of the policy update."""
    weight_sync: float | None
    """Seconds of moving weights to the rollout engine."""
    other: float | None
    """Seconds of the steps that are in no other phase."""

    @property
    def total_s(self) -> float | None:
        """Seconds of all training steps; None without ``other``, which closes the sum."""
        known = [value for value in asdict(self).values() if value is not None]
        return None if self.other is None else sum(known)


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Validation accuracy around the training."""

    before: float | None
    """Accuracy in [0, 1] at step 0, before any update; None if that was not validated."""
    after: float | None
    """Accuracy in [0, 1] of the last validation after an update."""
    n: int | None
    """Problems in the validation set of ``after`` (of ``before`` if there is no ``after``)."""
    stderr: float | None
    """Binomial standard error of ``after``: sqrt(p (1 - p) / n)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One finished run in numbers; its fields are the keys of summary.json."""

    experiment: str
    """Name of the experiment."""
    seed: int
    """Seed of the run."""
    steps: int
    """Training steps, each counted once."""
    optimizer_updates: int | None
    """Optimizer steps, summed over the training steps."""
    wall_s: float
    """Seconds from launch to end, with start-up and validation."""
    phases: Phases
    """Seconds per phase, summed over the training steps."""
    samples: int | None
    """Responses that finished, whether trained on or not."""
    generated_tokens: int | None
    """Response tokens sampled, also those of responses that never finished."""
    trained_tokens: int | None
    """Response tokens that reached the update."""
    samples_per_s: float | None
    """Responses finished per second of the generate phase, over all training steps."""
    samples_per_s_steady: float | None
    """The same without the first `WARMUP_STEPS` training steps; None if no step is left."""
    occupancy: float | None
    """Mean in-flight responses over the limit, in [0, 1], each step weighted by its generate s."""
    concurrency: int | None
    """In-flight limit N' in responses; None where the method has none."""
    segments_per_sample: float | None
    """Sampling segments per trained response, each step weighted by its trained responses."""
    on_policy_token_fraction: float | None
    """Trained tokens sampled by the version under update, each step weighted by its tokens."""
    accuracy: Accuracy
    """Validation before and after."""
    max_logprob_gap: float | None
    """Largest abs(engine - trainer) log-prob; None if any step's was not a finite number."""
    mean_logprob_gap: float | None
    """Mean over the steps of the mean abs(engine - trainer) log-prob; None as above."""
    packages: Mapping[str, str]
    """Version of each package that matters."""
    revision: str | None
    """Revision of the source; None outside a checkout."""

    def to_json(self) -> dict[str, Any]:
        """The object of summary.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Summary:
        """Read the object of summary.json back.

        Raises:
            ValueError: if a key is missing or unknown; names it.
        """
        _check_keys(cls, value, "summary")
        _check_keys(Phases, value["phases"], "phases")
        _check_keys(Accuracy, value["accuracy"], "accuracy")
        parts = {"phases": Phases(**value["phases"]), "accuracy": Accuracy(**value["accuracy"])}
        return cls(**{**value, **parts})


def summarise(
    rows: Iterable[Row],
    *,
    experiment: str,
    seed: int,
    packages: Mapping[str, str],
    revision: str | None,
    concurrency: int | None,
    wall_s: float,
) -> Summary:
    """Sum a run up. ``rows`` are those of metrics.jsonl, in any order; see `Summary` for units."""
    steps = merge_steps(rows)
    train = [row for row in steps if training(row)]
    return Summary(
        experiment=experiment,
        seed=seed,
        steps=len(train),
        optimizer_updates=_count(train, "optimizer/updates"),
        wall_s=wall_s,
        phases=Phases(**{x.name: _total(train, f"timing_s/{x.name}") for x in fields(Phases)}),
        samples=_count(train, "samples/finished"),
        generated_tokens=_count(train, "tokens/generated"),
        trained_tokens=_count(train, "tokens/trained"),
        samples_per_s=_samples_per_s(train),
        samples_per_s_steady=_samples_per_s(train[WARMUP_STEPS:]),
        occupancy=_weighted_mean(train, "rollout/occupancy", "timing_s/generate"),
        concurrency=concurrency,
        segments_per_sample=_weighted_mean(
            train, "staleness/segments_per_sample", "samples/trained"
        ),
        on_policy_token_fraction=_weighted_mean(
            train, "staleness/on_policy_token_fraction", "tokens/trained"
        ),
        accuracy=_accuracy(steps),
        max_logprob_gap=_unless_broken(train, "logprob_gap/max", max),
        mean_logprob_gap=_unless_broken(train, "logprob_gap/mean", _mean),
        packages=dict(packages),
        revision=revision,
    )


def merge_steps(rows: Iterable[Row]) -> list[Row]:
    """One row a step, in step order; of a key written twice the later value wins.

    A step has two rows when validation writes its own, or when a resumed run repeats the step.
    """
    merged: dict[float, Row] = {}
    for row in rows:
        step = row["step"]
        assert step is not None, "read_metrics lets no row without a step through"
        merged.setdefault(step, {}).update(row)
    return [merged[step] for step in sorted(merged)]


def training(row: Row) -> bool:
    """True for a training step; step 0 is the validation before training."""
    return (row["step"] or 0) >= 1


def _values(rows: Sequence[Row], key: str) -> list[float]:
    """The finite values of ``key``; a step without one is left out."""
    return [value for row in rows if (value := row.get(key)) is not None]


def _total(rows: Sequence[Row], key: str) -> float | None:
    values = _values(rows, key)
    return sum(values) if values else None


def _count(rows: Sequence[Row], key: str) -> int | None:
    total = _total(rows, key)
    return None if total is None else round(total)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _weighted_mean(rows: Sequence[Row], key: str, weight_key: str) -> float | None:
    """sum(w x) / sum(w) over the steps that have both; None if they weigh nothing."""
    pairs = [
        (value, weight)
        for row in rows
        if (value := row.get(key)) is not None and (weight := row.get(weight_key)) is not None
    ]
    total = sum(weight for _, weight in pairs)
    return sum(value * weight for value, weight in pairs) / total if total > 0 else None


def _samples_per_s(rows: Sequence[Row]) -> float | None:
    """Finished responses over generate seconds, of the steps that know both."""
    both = [x for x in rows if None not in (x.get("samples/finished"), x.get("timing_s/generate"))]
    seconds = sum(_values(both, "timing_s/generate"))
    return sum(_values(both, "samples/finished")) / seconds if seconds > 0 else None


def _unless_broken(
    rows: Sequence[Row], key: str, reduce: Callable[[list[float]], float]
) -> float | None:
    """Reduce the values of ``key``; None if a step wrote null, for then the true one is unknown."""
    values = _values(rows, key)
    complete = len(values) == sum(key in row for row in rows)
    return reduce(values) if values and complete else None


def _accuracy(steps: Sequence[Row]) -> Accuracy:
    validated = [row for row in steps if row.get("val/accuracy") is not None]
    before = next((row for row in validated if not training(row)), None)
    after = next((row for row in reversed(validated) if training(row)), None)
    latest = after or before
    n = _count([latest], "val/n") if latest else None
    rate = after["val/accuracy"] if after else None
    return Accuracy(
        before=before["val/accuracy"] if before else None,
        after=rate,
        n=n,
        stderr=binomial_stderr(rate, n) if rate is not None and n else None,
    )


def _check_keys(kind: Any, value: Mapping[str, Any], what: str) -> None:
    known = {x.name for x in fields(kind)}
    if wrong := known ^ set(value):
        raise ValueError(
            f"{what} has wrong or missing keys {sorted(wrong)}: write summary.json anew "
            "with this version"
        )
