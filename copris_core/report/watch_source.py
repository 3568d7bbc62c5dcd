"""Follows metrics.jsonl of a run, or of whichever run below a folder wrote last.

A run that goes on from a checkpoint replaces the file by a shorter one; then all is read anew.
Refuses to read any other file, and to know what a row means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from copris_core.report.run_folder import MetricsTail, Row

METRICS_FILE = "metrics.jsonl"
DEPTH = 3
"""Runs lie as deep as this below the folder of a comparison: ``<out>/<experiment>/<time>``."""


class Follower:
    """The rows so far of the run that is followed."""

    def __init__(self, place: Path) -> None:
        """Read nothing yet.

        Args:
            place: a run folder, its metrics.jsonl, or a folder that runs lie below; it need not
                exist yet.
        """
        self.place = place.parent if place.name == METRICS_FILE else place
        """What was asked for."""
        self.run: Path | None = None
        """Folder of the run; None before there is one."""
        self.rows: list[Row] = []
        """Rows of its file, in the order in which they were written."""
        self.written_s: float | None = None
        """Unix time at which the file last changed."""
        self.num_restarts = 0
        """How often the file of this run was replaced or cut short."""
        self._tail = MetricsTail(self.place / METRICS_FILE)
        self._file: tuple[int, int] | None = None
        self._size = 0

    @property
    def is_alone(self) -> bool:
        """Whether the place is a run itself; else another run below it may follow."""
        return self.run == self.place

    def look(self) -> None:
        """Take in what was written since.

        Raises:
            ValueError: a completed line is malformed; names the file and the line.
        """
        run = newest_run(self.place) or self.run
        if run is None:
            return
        path = run / METRICS_FILE
        if run != self.run:
            self.run, self.num_restarts = run, 0
            self._anew(path)
        state = _state(path)
        if state is None or _file(state) != self._file or state.st_size < self._size:
            self.num_restarts += self._file is not None
            self._anew(path)
        if state is not None:
            self._read_on(path, state)

    def _read_on(self, path: Path, state: os.stat_result) -> None:
        self._file, self._size, self.written_s = _file(state), state.st_size, state.st_mtime
        try:
            self.rows += self._tail.new_rows()
        except ValueError:
            # The file may have been replaced between the look at it and the reading.
            now = _state(path)
            if now is not None and _file(now) == self._file:
                raise

    def _anew(self, path: Path) -> None:
        self._tail, self._file, self._size = MetricsTail(path), None, 0
        self.rows, self.written_s = [], None


def newest_run(place: Path) -> Path | None:
    """``place`` if it is a run, else the run below it whose metrics were written last."""
    if (place / METRICS_FILE).is_file():
        return place
    found = list(_runs_below(place))
    return max(found)[1] if found else None


def _runs_below(place: Path) -> Iterator[tuple[int, Path]]:
    """Unix time in ns of the last row, and folder, of every run."""
    for depth in range(1, DEPTH + 1):
        for path in place.glob("*/" * depth + METRICS_FILE):
            state = _state(path)
            if state is not None:  # else removed meanwhile
                yield state.st_mtime_ns, path.parent


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _file(state: os.stat_result) -> tuple[int, int]:
    """Which file it is; one that replaces it is another."""
    return state.st_dev, state.st_ino
