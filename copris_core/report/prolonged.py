"""A prolonged run in numbers: its stretches between resets of the reference, and each domain.

Files of a run folder in, frozen values out. Refuses to draw, and to guess: what no row measured is
None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

from copris_core.report.run_folder import Row, RunFolder, read_config, read_metrics
from copris_core.report.summary import merge_steps
from copris_core.rollout.events import Event
from copris_core.rollout.ledger import LEDGER_FILE, SavedLedger

RESETS_FILE: Final = "resets.jsonl"
"""Name of the resets within a run folder, one JSON object a line."""

OURS: Final = "prorl/"
"""Prefix of the metrics that the controllers of a prolonged run write."""

BLENDED: Final = "val/blended"
DOMAIN: Final = re.compile(r"val/([^/]+)/accuracy")

SHORT_REASONS: Final = {
    "interval": "interval",
    "kl": "KL",
    "validation_degraded": "degraded",
    "validation_stalled": "stalled",
}
"""A reason of resets.jsonl -> how it is written where there is little room."""


@dataclass(frozen=True, kw_only=True)
class Reset:
    """The reference became the policy."""

    step: int
    """Training step after whose update it did."""
    reasons: tuple[str, ...]
    """Keys of `SHORT_REASONS`, at least one."""
    sentence: str
    """The reasons with their numbers."""

    @property
    def why(self) -> str:
        """The reasons in as few words as there are."""
        return ", ".join(SHORT_REASONS.get(reason, reason) for reason in self.reasons)


@dataclass(frozen=True, kw_only=True)
class Band:
    """Where an adaptive coefficient leaves the KL alone, in nats per token."""

    target: float
    """KL that is aimed at."""
    low: float
    """Below it the coefficient falls."""
    high: float
    """Above it the coefficient rises."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A number at the validations of a stretch or of the run."""

    first: float
    """At the first."""
    best: float
    """The largest."""
    best_step: int
    """Training step of the first largest."""
    last: float
    """At the last."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The training steps that were held to the same reference; None: no step measured it."""

    first_step: int
    """First training step."""
    last_step: int
    """Last training step: that of the reset, or of the run."""
    ended_by: Reset | None
    """The reset; None: the run ended, or has not yet."""
    blended: Course | None
    """Blended validation accuracy; step 0 belongs to the first stretch."""
    kl_median: float | None
    """KL to the reference, in nats per token, median over the steps."""
    kl_max: float | None
    """The same, largest."""
    kl_above: float | None
    """Share of the steps whose KL was above the band."""
    coefficient: float | None
    """Weight of the KL loss in the last update."""
    entropy: float | None
    """Mean over the steps, in nats per token."""
    length: float | None
    """Mean tokens of a trained response."""
    filtered: float | None
    """Groups filtered, mean per step."""
    truncated: float | None
    """Share of responses cut off at their budget, mean over the steps."""


@dataclass(frozen=True, kw_only=True)
class ProlongedRun:
    """What the table and the picture are made of."""

    name: str
    """Of the experiment, or of the folder."""
    rows: Sequence[Row]
    """One for each step, in order, as `merge_steps` gives them."""
    resets: tuple[Reset, ...]
    """In order."""
    restarts: tuple[int, ...]
    """Steps from which a process went on, in order, each once."""
    band: Band | None
    """None without an adaptive coefficient."""

    @property
    def last_step(self) -> int:
        """The last training step so far; 0 before the first."""
        return int(self.rows[-1]["step"] or 0) if self.rows else 0

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains that were validated."""
        keys = {key for row in self.rows for key in row}
        return tuple(sorted(found[1] for key in keys if (found := DOMAIN.fullmatch(key))))

    def points(self, key: str) -> tuple[list[int], list[float]]:
        """Steps that measured ``key``, and what they measured."""
        return _points(self.rows, key)

    def course(self, key: str) -> Course | None:
        """How ``key`` went over the whole run."""
        return _course(self.rows, key)

    def stretches(self) -> tuple[Stretch, ...]:
        """One from each reset to the next; steps after the last reset are a stretch too."""
        starts = [0, *(reset.step for reset in self.resets)]
        stops = [*starts[1:], self.last_step]
        ends = [*self.resets, None]
        return tuple(
            self._stretch(after, stop, end)
            for after, stop, end in zip(starts, stops, ends, strict=True)
            if stop > after
        )

    def _stretch(self, after: int, stop: int, end: Reset | None) -> Stretch:
        rows = [row for row in self.rows if after < (row["step"] or -1) <= stop]
        kl = _points(rows, "prorl/kl_divergence")[1]
        above = None if self.band is None else [value > self.band.high for value in kl]
        coefficients = _points(rows, "update/kl_coefficient")[1]
        validated = [row for row in self.rows if row["step"] == 0] + rows if after == 0 else rows
        return Stretch(
            first_step=after + 1,
            last_step=stop,
            ended_by=end,
            blended=_course(validated, BLENDED),
            kl_median=median(kl) if kl else None,
            kl_max=max(kl, default=None),
            kl_above=fmean(above) if above else None,
            coefficient=coefficients[-1] if coefficients else None,
            entropy=_mean(rows, "prorl/entropy"),
            length=_mean(rows, "prorl/avg_response_length"),
            filtered=_mean(rows, "filter/groups_filtered"),
            truncated=_mean(rows, "reward/truncated_fraction"),
        )


def read_prolonged(folder: Path, *, on_torn: Callable[[str], None]) -> ProlongedRun:
    """Read a run folder; the run may still be training.

    Args:
        folder: with metrics.jsonl; config.yaml, resets.jsonl and ledger.jsonl if at hand.
        on_torn: is told of a metrics line that a kill cut off.

    Raises:
        ValueError: no metrics, none that a controller wrote, or a malformed file; names it.
    """
    run = RunFolder(path=folder)
    rows = merge_steps(read_metrics(run.metrics_path, on_torn=on_torn))
    if not any(key.startswith(OURS) for row in rows for key in row):
        raise ValueError(
            f"{folder} has no {OURS} metrics: only a run with kl_control, reference_reset, "
            "entropy_control or length_schedule has, such as experiment=prorl"
        )
    config = read_config(run.config_path)
    return ProlongedRun(
        name=str(config.get("experiment_name", folder.name)),
        rows=rows,
        resets=_resets(folder / RESETS_FILE),
        restarts=_restarts(folder / LEDGER_FILE),
        band=_band(config),
    )


def _resets(path: Path) -> tuple[Reset, ...]:
    if not path.is_file():
        return ()
    *whole, _ = path.read_text().split("\n")  # a line without its end is being written
    found = [_reset(line, where=f"{path} line {i}") for i, line in enumerate(whole, start=1)]
    return tuple(sorted(found, key=lambda reset: reset.step))


def _reset(line: str, *, where: str) -> Reset:
    try:
        told = json.loads(line)
        reasons = tuple(map(str, told["reasons"]))
        return Reset(step=int(told["step"]), reasons=reasons, sentence=str(told["sentence"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{where} is no reset: mend or delete that line") from error


def _restarts(path: Path) -> tuple[int, ...]:
    """The version of a restart is the step of its checkpoint: one version a training step."""
    if not path.is_file():
        return ()
    facts = (line.fact for line in SavedLedger(path))
    return tuple(sorted({fact.version for fact in facts if fact.event is Event.RESUMED_RUN}))


def _band(config: Mapping[str, Any]) -> Band | None:
    control = config.get("kl_control") or {}
    if control.get("name") != "adaptive":
        return None
    target = float(control["target"])
    return Band(
        target=target,
        low=float(control["lower_below"]) * target,
        high=float(control["raise_above"]) * target,
    )


def _points(rows: Sequence[Row], key: str) -> tuple[list[int], list[float]]:
    pairs = [(int(row["step"] or 0), x) for row in rows if (x := row.get(key)) is not None]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _course(rows: Sequence[Row], key: str) -> Course | None:
    steps, values = _points(rows, key)
    if not values:
        return None
    best = max(values)
    return Course(first=values[0], best=best, best_step=steps[values.index(best)], last=values[-1])


def _mean(rows: Sequence[Row], key: str) -> float | None:
    values = _points(rows, key)[1]
    return fmean(values) if values else None
