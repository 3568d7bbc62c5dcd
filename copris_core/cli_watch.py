"""``copris watch``: its words and its clock. What is seen: `copris_core.report.watch_view`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from copris_core.cli_plan_parts import Words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from copris_core.report.watch import WatchState
    from copris_core.report.watch_source import Follower
    from copris_core.report.watch_view import Shown

WATCH_HELP: Final = """\
copris watch RUN [--once] [--every S]

Shows a run while it trains, from its metrics.jsonl alone, so also over ssh or from another machine
that sees the folder: step and time left, reward, validation accuracy, length, entropy, KL, resets,
responses in flight beside the limit N', the gate's queue, staleness, the engine-trainer log-prob
gap, and where the seconds of a step go. Ends with the run; Ctrl-C ends only the view.

RUN is a run folder, which need not hold anything yet, or a folder that runs lie below, such as runs
or runs/compare: then the run that wrote last is shown, and the next one when it begins.

  --once     show it once and end
  --every S  seconds between two looks (default: 2)

Without a terminal it prints one line for every step. NO_COLOR=1 turns colours off.
"""

DEFAULT_EVERY_S: Final = 2.0
PIPE_WIDTH: Final = 100
"""Columns where no terminal says how many there are."""
PIPE_HEIGHT: Final = 40


@dataclass(frozen=True, kw_only=True)
class WatchWords:
    """The command line, taken apart."""

    run: Path
    """Folder of the run, or of several."""
    once: bool
    """Whether to look once only."""
    every_s: float
    """Seconds between two looks."""


def watch(words: list[str]) -> int:
    """Run ``copris watch``.

    Raises:
        ConfigError: the words, the folder or its metrics cannot be.
    """
    from rich.console import Console

    from copris_core.report.watch_source import Follower
    from copris_core.verl_adapter.errors import ConfigError

    told = split_watch(words)
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH, height=PIPE_HEIGHT)
    if not told.run.exists() and (told.once or not told.run.absolute().parent.is_dir()):
        raise ConfigError(f"no folder {told.run}: give a run folder, or one that runs lie below")
    follower = Follower(told.run)
    try:
        if told.once:
            _show_once(follower, console)
        elif console.is_terminal and not console.is_dumb_terminal:
            _show_live(follower, console, told.every_s)
        else:
            _tell_steps(follower, console, told.every_s)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    except KeyboardInterrupt:  # how one leaves a view
        pass
    return 0


def split_watch(words: Sequence[str]) -> WatchWords:
    """Take the words of ``watch`` apart.

    Raises:
        ConfigError: an unknown word, not exactly one run, or no seconds to wait.
    """
    parser = Words("copris watch")
    parser.add_argument("run", type=Path)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--every", type=float, default=DEFAULT_EVERY_S)
    asked = parser.parse_args(list(words))
    if not 0 < asked.every < float("inf"):
        parser.error(f"--every {asked.every:g}: give seconds above 0")
    return WatchWords(run=asked.run, once=asked.once, every_s=asked.every)


def _show_once(follower: "Follower", console: "Console") -> None:
    follower.look()
    for line in _view(follower, console):
        console.print(line, soft_wrap=True)


def _show_live(follower: "Follower", console: "Console", every_s: float) -> None:
    """A page of its own that is drawn anew at every look; the last one stays."""
    from rich.console import Group
    from rich.live import Live

    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            follower.look()
            live.update(Group(*_view(follower, console)), refresh=True)
            if _has_ended(follower):
                break
            time.sleep(every_s)
    _show_once(follower, console)


def _tell_steps(follower: "Follower", console: "Console", every_s: float) -> None:
    """One line for every step, until the run has ended."""
    from copris_core.report.watch import WatchState
    from copris_core.report.watch_view import plain_line

    told_run, told_step = None, -1
    while True:
        follower.look()
        state = WatchState.of(follower.rows)
        if follower.run != told_run:
            told_run, told_step = follower.run, -1
            console.print(_title(follower), markup=False, highlight=False, soft_wrap=True)
        if state.step < told_step:
            told_step = state.step
            console.print(f"goes on from step {told_step}", highlight=False)
        for part in _later_than(told_step, state):
            told_step = part.step
            console.print(plain_line(part), markup=False, highlight=False, soft_wrap=True)
        if _has_ended(follower):
            return
        time.sleep(every_s)


def _later_than(step: int, state: "WatchState") -> "list[WatchState]":
    """The state as of each step after ``step``."""
    from copris_core.report.watch import WatchState

    ends = [end for end, row in enumerate(state.steps, start=1) if (row["step"] or 0) > step]
    parts = [WatchState(state.steps[:end]) for end in ends]
    return [part for part in parts if part.steps[-1]["step"] == part.step]


def _has_ended(follower: "Follower") -> bool:
    """Whether the run is done and no other can follow."""
    from copris_core.report.watch import WatchState

    return follower.is_alone and WatchState.of(follower.rows).is_done


def _view(follower: "Follower", console: "Console") -> "list[Text]":
    from copris_core.report.watch import WatchState
    from copris_core.report.watch_view import render

    return render(WatchState.of(follower.rows), _shown(follower, console))


def _shown(follower: "Follower", console: "Console") -> "Shown":
    from copris_core.report.watch_marks import marks_for
    from copris_core.report.watch_view import Shown

    written_s = follower.written_s
    return Shown(
        title=_title(follower),
        age_s=0.0 if written_s is None else max(0.0, time.time() - written_s),
        width=console.width,
        marks=marks_for(console.encoding),
        went_back=follower.num_restarts > 0,
    )


def _title(follower: "Follower") -> str:
    """Experiment and time of the run, which are its last two folders."""
    return " ".join((follower.run or follower.place).absolute().parts[-2:])
