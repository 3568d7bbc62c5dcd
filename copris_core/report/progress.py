"""What a running experiment has reached, as a pure state; how it looks is `progress_view`.

Rows of metrics.jsonl in, a new state out. Refuses to know clock, file and terminal: the only time
it knows is the rows' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import median

from copris_core.report.run_folder import Row
from copris_core.report.score import score
from copris_core.report.summary import Phases, training

PACE_STEPS = 10
"""The time left is judged by the median of this many last steps."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """What the run does right now, in the launcher's words."""

    text: str
    """E.g. ``starting Ray``, ``loading engine``, ``generating``."""
    step: int | None = None
    """Training step it belongs to; None during start-up and at the end."""

    def line(self) -> str:
        """The phase in one line."""
        return self.text if self.step is None else f"step {self.step}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class ProgressState:
    """How far a run is; None stands for what no row has told yet."""

    total_steps: int
    """Training steps the run will take."""
    step: int = 0
    """Last training step that is done."""
    elapsed_s: float = 0.0
    """Seconds since the start, as of the last row."""
    reward: float | None = None
    """Mean score of the last step's responses, unpruned, unshaped, unfiltered."""
    accuracy: float | None = None
    """Last validation accuracy, in [0, 1]."""
    in_flight: float | None = None
    """Mean responses in flight in the last step."""
    limit: float | None = None
    """The limit N' on responses in flight."""
    phases: Phases | None = None
    """Seconds of each phase in the last step."""
    step_s: float | None = None
    """Seconds of the last step."""
    recent_s: tuple[float, ...] = ()
    """Seconds of the last steps, at most `PACE_STEPS`."""

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the recent pace; None before the first timed step."""
        if not self.recent_s:
            return None
        return median(self.recent_s) * max(0, self.total_steps - self.step)

    def advance(self, rows: Sequence[Row]) -> ProgressState:
        """The state after more rows, in the order in which they were written."""
        state = self
        for row in rows:
            state = state._after(row)
        return state

    def _after(self, row: Row) -> ProgressState:
        accuracy = row.get("val/accuracy")
        state = replace(
            self,
            elapsed_s=row.get("time_s") or self.elapsed_s,
            accuracy=self.accuracy if accuracy is None else accuracy,
        )
        # A row without a step's metrics is a validation of its own: it moves nothing else.
        measured = (key for key in row if not key.startswith("val/"))
        if not training(row) or set(measured) <= {"step", "time_s"}:
            return state
        step_s = row.get("timing_s/step")
        recent = self.recent_s if step_s is None else (*self.recent_s, step_s)
        return replace(
            state,
            step=int(row["step"] or 0),
            reward=score(row),
            in_flight=row.get("rollout/in_flight"),
            limit=row.get("rollout/limit"),
            phases=Phases(**{x.name: row.get(f"timing_s/{x.name}") for x in fields(Phases)}),
            step_s=step_s,
            recent_s=recent[-PACE_STEPS:],
        )
