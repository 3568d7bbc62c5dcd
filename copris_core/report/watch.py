"""What metrics.jsonl tells of a run that goes on, as a pure state; how it looks is `watch_view`.

Refuses to know clock, file and terminal. Unlike `progress`, which the launcher feeds while it
trains, it knows nothing but rows: the length of the run and its bounds are in them too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median

from copris_core.report.run_folder import Row
from copris_core.report.score import score
from copris_core.report.summary import merge_steps, training

TOTAL_STEPS = "run/total_steps"
ACCURACY = "val/accuracy"
STEP_S = "timing_s/step"
PACE_STEPS = 10
"""The time left is judged by the median of this many last steps."""

NO_MEASUREMENT = ("step", "time_s", "val/", "run/")
"""Keys, and beginnings of keys, that a row without a training step has too."""


@dataclass(frozen=True)
class WatchState:
    """The rows so far."""

    steps: tuple[Row, ...] = ()
    """One row a step, in step order; step 0 is the validation before training."""

    @classmethod
    def of(cls, rows: Iterable[Row]) -> WatchState:
        """The state after ``rows``, in the order in which they were written."""
        return cls(tuple(merge_steps(rows)))

    # ---- how far ----

    @cached_property
    def trained(self) -> tuple[Row, ...]:
        """The rows of training steps; a validation alone is none."""
        return tuple(row for row in self.steps if training(row) and _is_measured(row))

    @property
    def step(self) -> int:
        """Last training step that is done; 0 before the first."""
        return int(self.trained[-1]["step"] or 0) if self.trained else 0

    @property
    def total_steps(self) -> int | None:
        """Training steps the run will take; None where no row says so."""
        told = [total for row in self.steps if (total := row.get(TOTAL_STEPS)) is not None]
        return int(told[-1]) if told else None

    @property
    def is_done(self) -> bool:
        """Whether the last step is done; never, where no row says which that is."""
        return self.total_steps is not None and 0 < self.total_steps <= self.step

    @property
    def elapsed_s(self) -> float | None:
        """Seconds from the launch to the last row."""
        return self.steps[-1].get("time_s") if self.steps else None

    # ---- one metric ----

    def now(self, *keys: str) -> float | None:
        """The first of ``keys`` that the last step has; None if it has none or it was NaN."""
        row = self.trained[-1] if self.trained else {}
        return next((value for key in keys if (value := row.get(key)) is not None), None)

    def is_broken(self, key: str) -> bool:
        """Whether the last step measured ``key`` and it was NaN or inf."""
        return bool(self.trained) and self.trained[-1].get(key, 0.0) is None

    def history(self, *keys: str) -> list[float | None]:
        """The first of ``keys`` that each training step has."""
        return [
            next((value for key in keys if (value := row.get(key)) is not None), None)
            for row in self.trained
        ]

    @property
    def scores(self) -> list[float | None]:
        """Mean score of each step's responses, before shaping and filtering."""
        return [score(row) for row in self.trained]

    @property
    def validations(self) -> list[tuple[int, float]]:
        """Step and accuracy in [0, 1] of each validation, step 0 included."""
        return [
            (int(row["step"] or 0), accuracy)
            for row in self.steps
            if (accuracy := row.get(ACCURACY)) is not None
        ]

    @property
    def domains(self) -> dict[str, float]:
        """Accuracy of each domain in the last validation that has several."""
        validated = [row for row in self.steps if row.get(ACCURACY) is not None]
        row = validated[-1] if validated else {}
        of_domains = {
            key.split("/")[1]: value
            for key, value in row.items()
            if key.startswith("val/") and key.count("/") == 2 and key.endswith("/accuracy")
            if value is not None
        }
        return of_domains if len(of_domains) > 1 else {}

    # ---- how long ----

    @property
    def step_s(self) -> float | None:
        """Median wall seconds of the last steps that validated nothing, saving included."""
        plain = [seconds for row, seconds in self._walls if ACCURACY not in row]
        seconds = plain or [value for value in self.history(STEP_S) if value is not None]
        return median(seconds[-PACE_STEPS:]) if seconds else None

    @property
    def validation_s(self) -> float:
        """Median wall seconds that a validation adds to its step; 0 before one was timed."""
        pace = self.step_s or 0.0
        extra = [max(0.0, seconds - pace) for row, seconds in self._walls if ACCURACY in row]
        return median(extra[-PACE_STEPS:]) if extra else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left after the last row; None before the first timed step."""
        if self.total_steps is None or self.step_s is None:
            return None
        num_steps = max(0, self.total_steps - self.step)
        return num_steps * self.step_s + self._validations_left * self.validation_s

    @property
    def _walls(self) -> list[tuple[Row, float]]:
        """Each step whose neighbour before it is there, with the seconds between their rows."""
        found = []
        for before, after in pairwise(self.trained):
            begin, end = before.get("time_s"), after.get("time_s")
            follows = (before["step"] or 0) + 1 == after["step"]
            if follows and begin is not None and end is not None and end >= begin:
                found.append((after, end - begin))
        return found

    @property
    def _validations_left(self) -> int:
        """Of verl, which validates every so many steps, and after the last one."""
        steps = [step for step, _ in self.validations if step > 0]
        if not steps or self.total_steps is None or self.is_done:
            return 0
        every = steps[-1] - steps[-2] if len(steps) > 1 else steps[-1]
        due = self.total_steps // every - self.step // every
        return due + bool(self.total_steps % every)


def shares(values: Sequence[float | None]) -> list[float]:
    """Parts of their sum; unknown and negative ones are nothing, and so are all if the sum is."""
    known = [max(0.0, value or 0.0) for value in values]
    total = sum(known)
    return [value / total if total else 0.0 for value in known]


def _is_measured(row: Row) -> bool:
    return any(not key.startswith(NO_MEASUREMENT) for key in row)
