"""One run on disk: ``runs/<experiment>/<time>/{config.yaml,metrics.jsonl,summary.json}``.

Writes so that a kill at any moment leaves files that can still be read. Refuses to know what a
metric means: a row is a step, a time, and numbers under flat names.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Protocol, SupportsFloat, TypeVar

Row = dict[str, float | None]
"""One line of metrics.jsonl. ``step`` is an int; null stands for a number that was NaN or inf."""

REQUIRED_KEYS = ("step", "time_s")


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """The folder of one run and the only writer of its metrics."""

    path: Path
    """The folder ``<root>/<experiment>/<time_stamp>``."""

    @classmethod
    def create(cls, root: Path, experiment: str, time_stamp: str) -> RunFolder:
        """Make the folder of a new run.

        Raises:
            ValueError: if the folder is there already, so that two runs never share one.
        """
        path = root / experiment / time_stamp
        if path.exists():
            raise ValueError(f"run folder {path} exists: give another time stamp or remove it")
        path.mkdir(parents=True)
        return cls(path=path)

    @property
    def config_path(self) -> Path:
        """Where the composed config of the run lies."""
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        """Where the metrics lie, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def summary_path(self) -> Path:
        """Where the summary of the finished run lies."""
        return self.path / "summary.json"

    def write_config(self, yaml_text: str) -> None:
        """Write config.yaml, whole or not at all."""
        write_text(self.config_path, yaml_text)

    def append_metrics(self, row: Mapping[str, SupportsFloat | None]) -> None:
        """Append one line and flush it; NaN and inf are written as null.

        Raises:
            ValueError: if ``step`` or ``time_s`` is missing; nothing is written then.
        """
        missing = [key for key in REQUIRED_KEYS if row.get(key) is None]
        if missing:
            raise ValueError(f"metrics row lacks {', '.join(missing)}: every row needs both")
        line = json.dumps({key: _number(value) for key, value in row.items()}, allow_nan=False)
        with self.metrics_path.open("a+b") as file:
            _close_torn_line(file.fileno())
            file.write(line.encode() + b"\n")
            file.flush()


def read_metrics(path: Path, *, on_torn: Callable[[str], None] = warnings.warn) -> list[Row]:
    """Read metrics.jsonl. A last line torn by a kill is left out and told to ``on_torn``.

    Raises:
        ValueError: if the file is missing or any other line is malformed; names the line.
    """
    if not path.is_file():
        raise ValueError(f"no metrics at {path}: give the folder of a run that has started")
    return read_lines(path, _parse, on_torn=on_torn)


class LineParser(Protocol[T_co]):
    """Reads one line."""

    def __call__(self, line: bytes, *, where: str) -> T_co:
        """What the line says; ``where`` names it in a ValueError."""
        ...


def read_lines(
    path: Path, parse: LineParser[T_co], *, on_torn: Callable[[str], None]
) -> list[T_co]:
    """Read a file of lines. A last one torn by a kill is left out and told to ``on_torn``.

    Raises:
        ValueError: if any other line is malformed; names the line.
    """
    *whole, tail = path.read_bytes().split(b"\n")
    rows = [parse(line, where=f"{path} line {i}") for i, line in enumerate(whole, start=1)]
    if not tail:
        return rows
    try:
        rows.append(parse(tail, where="tail"))
    except ValueError:
        on_torn(f"{path} line {len(whole) + 1} was cut off by a kill and is left out")
    return rows


class MetricsTail:
    """Reads the lines that were added to a growing metrics.jsonl since the last look."""

    def __init__(self, path: Path) -> None:
        """Start at the beginning of ``path``, which need not exist yet."""
        self._path = path
        self._offset = 0
        self._num_lines = 0

    def new_rows(self) -> list[Row]:
        """Rows completed since the last call; a line still being written waits for the next.

        Raises:
            ValueError: if a completed line is malformed; names the line.
        """
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        first = self._num_lines + 1
        rows = [_parse(x, where=f"{self._path} line {i}") for i, x in enumerate(lines, first)]
        self._offset += len(whole) + len(newline)
        self._num_lines += len(lines)
        return rows


def write_text(path: Path, text: str) -> None:
    """Write ``path`` whole or not at all: a reader never sees half a file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``path`` whole or not at all, through a neighbour that is then renamed."""
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with neighbour.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON, whole or not at all.

    Raises:
        ValueError: if a number is NaN or inf, which JSON does not know; nothing is written then.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ValueError: if the file is missing or holds no JSON object.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}: the run has not finished, or this is not a run folder")
    try:
        value = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}): write it anew from the metrics") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object: write it anew from the metrics")
    return value


def read_config(path: Path) -> dict[str, Any]:
    """Read config.yaml; an absent or empty file gives an empty config.

    Raises:
        ValueError: if the file holds something else than a mapping.
    """
    import yaml  # only the page wants configs; writing metrics must not need it

    value = yaml.safe_load(path.read_text()) if path.is_file() else None
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{path} holds no mapping: it should be the composed config of the run")
    return value or {}


def _number(value: SupportsFloat | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _close_torn_line(descriptor: int) -> None:
    """Make the file end in a newline, or be empty, before a resumed run appends to it.

    Without this a half-written last line would swallow the next row and spoil both.
    """
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    data = os.pread(descriptor, size, 0)
    start = data.rfind(b"\n") + 1
    try:
        _parse(data[start:], where="tail")
    except ValueError:
        os.ftruncate(descriptor, start)
    else:
        os.write(descriptor, b"\n")


def _parse(line: bytes, *, where: str) -> Row:
    mend = "mend or delete that line"
    try:
        row = json.loads(line, parse_constant=lambda _: None)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {mend}") from error
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        raise ValueError(f"{where} is no object with an integer 'step': {mend}")
    for key, value in row.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{where} has {key!r} = {value!r}, not a number: {mend}")
    return row
