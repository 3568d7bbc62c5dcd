"""Rows from files in verl's schema, each judged by the task that it names.

Everything is checked before a run starts. This file refuses to know how a row is written: that is
in ``file_rows.py``.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from copris_core.tasks.file_rows import FileRow, read_rows
from copris_core.tasks.held_out import is_test_set
from copris_core.tasks.joining import fact_kinds, numbered
from copris_core.tasks.registry import task_for
from copris_core.tasks.row_checks import first_shared_prompt
from copris_core.tasks.task import Row, Split, TaskDataError, Verdict

NAME = "file"


@dataclass(frozen=True, kw_only=True)
class FileTask:
    """Rows of two files, each judged by the task that it names."""

    path: str | None = None
    """Training rows, a .parquet or .jsonl file."""
    val_path: str | None = None
    """Validation rows, another such file."""
    rows: int | None = None
    """Train on the first so many rows; None: all."""
    val_rows: int | None = None
    """Validate on the first so many rows; None: all."""
    custom: Sequence[str] = ()
    """References of custom tasks that rows may name. A file can't make a run load code unasked."""

    def __post_init__(self) -> None:
        """Raise ValueError for a missing file name or a size out of range."""
        for key, path in (("path", self.path), ("val_path", self.val_path)):
            if not path:
                raise ValueError(f"task.{key} is missing: give a .parquet or .jsonl file")
        for key, size in (("rows", self.rows), ("val_rows", self.val_rows)):
            if size is not None and size < 1:
                raise ValueError(f"task.{key} is {size}: set it to 1 or more, or null for all")

    @property
    def name(self) -> str:
        """Name in the registry; no row has it as its data source."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows to train on.

        Raises:
            TaskDataError: a file is missing or malformed, or both hold the same prompt.
        """
        return list(self._both[0])

    def validation_rows(self) -> list[Row]:
        """Rows to validate on.

        Raises:
            TaskDataError: as `train_rows`.
        """
        return list(self._both[1])

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Refuse: which task judges a response only its row knows.

        Raises:
            ValueError: always.
        """
        raise ValueError("a file judges nothing: ask task_for(row.data_source)")

    @functools.cached_property
    def _both(self) -> tuple[list[Row], list[Row]]:
        """Training and validation rows; both at once, since they share their set of facts."""
        train = self._read(self.path, "train")[: self.rows]
        held_out = self._read(self.val_path, "test")[: self.val_rows]
        train_rows, held_out_rows = [x.row for x in train], [x.row for x in held_out]
        shared = first_shared_prompt(train_rows, held_out_rows)
        if shared is not None:
            raise TaskDataError(
                f"{train[shared[0]].place} asks what {held_out[shared[1]].place} validates on: "
                "remove one of them"
            )
        kinds = fact_kinds([*train_rows, *held_out_rows])
        return numbered(train_rows, kinds), numbered(held_out_rows, kinds)

    def _read(self, path: str | None, split: Split) -> list[FileRow]:
        assert path is not None  # refused in __post_init__
        rows = read_rows(Path(path).expanduser(), split=split)
        for each in rows:
            complaint = self._unjudged(each.row.data_source)
            if complaint:
                raise TaskDataError(f"{each.place}: {complaint}")
        return rows

    def _unjudged(self, data_source: str) -> str | None:
        """Why rows of this data source are not taken; None when they are."""
        if is_test_set(data_source):
            return (
                f"data_source {data_source!r} is a test set, which training may not see: measure "
                "on the file by `copris eval --task file=FILE`, and leave such rows out"
            )
        if ":" in data_source and data_source not in self.custom:
            return (
                f"data_source {data_source!r} is code that nobody asked for: "
                f"allow it with task.custom=['{data_source}']"
            )
        try:
            task_for(data_source)
        except ValueError as error:
            return f"no verifier for data_source {data_source!r}: {error}"
        return None
