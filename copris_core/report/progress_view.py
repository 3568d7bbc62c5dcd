"""Shows a `ProgressState` while a run goes on: live on a terminal, else one plain line a step.

Refuses to read metrics and to decide when to look: the launcher calls `ProgressView.update` with
new rows and `ProgressView.phase` with words. Rich's own thread redraws, so that the seconds of the
phase move while the launcher waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from copris_core.report.numbers import UNKNOWN, show, show_seconds
from copris_core.report.progress import Phase, ProgressState
from copris_core.report.run_folder import Row

REDRAWS_PER_SECOND = 4
BAR_WIDTH = 30


class ProgressView:
    """The progress of one run on a console; a context manager."""

    def __init__(
        self,
        title: str,
        *,
        total_steps: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Show nothing yet.

        Args:
            title: name of the run.
            total_steps: training steps it will take.
            console: where to show; rich's standard output by default.
            clock: seconds, for the time since the phase began.
        """
        self.state = ProgressState(total_steps=total_steps)
        self._title = title
        self._console = console or Console()
        self._clock = clock
        self._phase = Phase(text="starting")
        self._phase_began_s = clock()
        self._spinner = Spinner("dots")
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=REDRAWS_PER_SECOND,
            transient=False,
        )

    def __enter__(self) -> ProgressView:
        """Start to show, live where the console is a terminal."""
        if self._console.is_terminal:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; the last state stays on the screen."""
        if self._console.is_terminal:
            self._live.stop()

    def phase(self, text: str, *, step: int | None = None) -> None:
        """Say what the run does now.

        Without a terminal a phase of a step is silent: the line of the step tells its seconds.
        """
        phase = Phase(text=text, step=step)
        if phase == self._phase:
            return
        self._phase, self._phase_began_s = phase, self._clock()
        if step is None and not self._console.is_terminal:
            self._print(phase.line())

    def update(self, rows: Sequence[Row]) -> None:
        """Take in new rows of metrics.jsonl."""
        for row in rows:
            before = self.state
            self.state = before.advance([row])
            if not self._console.is_terminal and _says_something(before, self.state):
                self._print(plain_line(self.state))

    def _print(self, line: str) -> None:
        # A log file has no width: wrapping would make two lines of one.
        self._console.print(Text(f"{self._title}: {line}"), soft_wrap=True)

    def _render(self) -> RenderableType:
        seconds = self._clock() - self._phase_began_s
        return render(self._title, self.state, self._phase, phase_s=seconds, spinner=self._spinner)


def render(
    title: str, state: ProgressState, phase: Phase, *, phase_s: float, spinner: RenderableType
) -> RenderableType:
    """Four lines: the bar of steps, the last step's numbers and seconds, and the phase."""
    bar = ProgressBar(total=max(1, state.total_steps), completed=state.step, width=BAR_WIDTH)
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(title, style="bold"),
        bar,
        Text(f"{state.step}/{state.total_steps}"),
        Text(_times(state), style="dim"),
    )
    now = Table.grid(padding=(0, 1))
    now.add_row(spinner, Text(phase.line(), style="cyan"), Text(show_seconds(phase_s), style="dim"))
    return Group(head, Text("  ".join(_numbers(state))), Text(_seconds(state)), now)


def plain_line(state: ProgressState) -> str:
    """The state in one line, for a log file."""
    head = f"step {state.step}/{state.total_steps}"
    return "  ".join([head, *_numbers(state), _seconds(state), _times(state)])


def _times(state: ProgressState) -> str:
    left = f"{show_seconds(state.eta_s)} left" if state.step < state.total_steps else "done"
    return f"{show_seconds(state.elapsed_s)} gone, {left}"


def _numbers(state: ProgressState) -> Iterator[str]:
    yield f"reward {show(state.reward, 3)}"
    yield f"accuracy {show(state.accuracy, 3)}"
    yield f"in flight {show(state.in_flight, 1)}/{show(state.limit, 0)}"


def _seconds(state: ProgressState) -> str:
    """Seconds of the last step and, in brackets, of its timed phases."""
    timed = asdict(state.phases) if state.phases else {}
    words = [
        f"{name.replace('_', ' ')} {show_seconds(value)}"
        for name, value in timed.items()
        if value is not None
    ]
    return f"last step {show_seconds(state.step_s)} ({', '.join(words) or UNKNOWN})"


def _says_something(before: ProgressState, after: ProgressState) -> bool:
    return after.step != before.step or after.accuracy != before.accuracy
