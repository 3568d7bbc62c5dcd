"""How far an evaluation is: a bar on a terminal, a line every few seconds in a log file."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from copris_core.report.numbers import show_seconds

PLAIN_EVERY_S: Final = 30.0
"""Seconds between two lines of a log file."""


class EvalProgress:
    """Samples done, in flight, tokens a second and what is left; a context manager."""

    def __init__(
        self,
        *,
        total: int,
        done: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show nothing yet.

        Args:
            total: samples of the whole evaluation.
            done: those that an earlier process made.
            console: where to show; rich's standard output by default.
            clock: seconds.
        """
        self._console = console or Console()
        self._clock = clock
        self._began_s = self._told_s = clock()
        self._total, self._before, self._done = total, done, done
        self._tokens = 0
        self._bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f} samples"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("", total=total, completed=done, state="")

    def __enter__(self) -> "EvalProgress":
        """Start to show, live where the console is a terminal."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; the last state stays."""
        if self._console.is_terminal:
            self._bar.stop()
        elif kind is None:
            self._say(in_flight=0)

    def update(self, *, done: int, in_flight: int, tokens: int) -> None:
        """Take in how far it is.

        Args:
            done: judged samples, those of earlier processes included.
            in_flight: responses that are being sampled.
            tokens: sampled since the last call.
        """
        self._done, self._tokens = done, self._tokens + tokens
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, state=self._state(in_flight))
        elif self._clock() - self._told_s >= PLAIN_EVERY_S:
            self._say(in_flight=in_flight)

    def _say(self, *, in_flight: int) -> None:
        self._told_s = self._clock()
        line = f"{self._done}/{self._total} samples, {self._state(in_flight)}, {self._left()}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def _state(self, in_flight: int) -> str:
        seconds = max(self._clock() - self._began_s, 1e-9)
        return f"{in_flight} in flight, {self._tokens / seconds:.0f} tokens/s"

    def _left(self) -> str:
        """Time left at the pace so far."""
        made, seconds = self._done - self._before, self._clock() - self._began_s
        if self._done == self._total:
            return f"done in {show_seconds(seconds)}"
        return f"{show_seconds(seconds / made * (self._total - self._done))} left" if made else ""
