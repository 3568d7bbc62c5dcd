"""A user's own task: a class named on the command line, in a package or in a file.

    task=custom task.cls=my_tasks:Palindromes +task.settings.rows=500

The class has ``train_rows``, ``validation_rows`` and ``score`` as ``task.py`` tells. Its rows get
the class's reference as their data source, a file's with its absolute path, so that a worker
process finds the verifier from the row alone. This file refuses to know what the class does.
"""

import dataclasses
import functools
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from copris_core.own_code import load_class, whole_reference
from copris_core.tasks.answers import final_answer
from copris_core.tasks.row_checks import first_shared_prompt, row_complaint
from copris_core.tasks.task import Row, Split, Task, TaskDataError, Verdict

KEY: Final = "task.cls"
NEEDED: Final = ("train_rows", "validation_rows", "score")


@dataclass(frozen=True, kw_only=True)
class CustomTask:
    """Someone else's class, its rows and verdicts checked."""

    cls: str = ""
    """``package.module:Class`` or ``path/to/file.py:Class``."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the class is built with; when it judges, it is built with nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError when there is no such class, it lacks a method, or can't be built."""
        _built(self._class, {}, self.name)
        assert self._task

    @functools.cached_property
    def name(self) -> str:
        """The reference as any process can follow it; the rows' ``data_source``."""
        return whole_reference(self.cls, key=KEY)

    def train_rows(self) -> list[Row]:
        """Rows to train on.

        Raises:
            TaskDataError: a row is malformed, or its prompt is also validated on.
        """
        rows = self._rows("train", "train_rows")
        shared = first_shared_prompt(rows, self._held_out)
        if shared is not None:
            raise TaskDataError(
                f"{self.name}: row {shared[0]} of train_rows asks what row {shared[1]} of "
                "validation_rows asks: hold it out of training"
            )
        return rows

    def validation_rows(self) -> list[Row]:
        """Rows held out from training.

        Raises:
            TaskDataError: a row is malformed.
        """
        return list(self._held_out)

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Ask the class.

        Raises:
            ValueError: it answered something else than a Verdict with a score in [0, 1].
        """
        verdict = self._task.score(text, ground_truth)
        if not isinstance(verdict, Verdict) or not 0 <= verdict.score <= 1:
            raise ValueError(
                f"{self.name}: score gave {verdict!r}: return Verdict(score=0..1, reason=...)"
            )
        return verdict

    def reference_answer(self, row: Row) -> str | None:
        """A response that should score 1, where the class knows one."""
        ask = getattr(self._task, "reference_answer", None)
        return None if ask is None else cast("str | None", ask(row))

    def answer(self, text: str) -> str | None:
        """What a response answers, for a vote; as other tasks read it where the class does not."""
        ask = getattr(self._task, "answer", final_answer)
        return cast("str | None", ask(text))

    def test_rows(self) -> list[Row]:
        """Rows to report on; those of validation where the class has no others.

        Raises:
            TaskDataError: a row is malformed.
        """
        return (
            self._rows("test", "test_rows")
            if hasattr(self._task, "test_rows")
            else self.validation_rows()
        )

    @functools.cached_property
    def _class(self) -> type[Any]:
        return load_class(self.name, key=KEY, needed=NEEDED, guide="docs/tasks.md")

    @functools.cached_property
    def _task(self) -> Task:
        return _built(self._class, self.settings, self.name)

    @functools.cached_property
    def _held_out(self) -> list[Row]:
        return self._rows("test", "validation_rows")

    def _asked(self, method: str) -> Any:
        try:
            return getattr(self._task, method)()
        except TaskDataError:
            raise
        except Exception as error:  # whatever the user's own code raises
            where = traceback.extract_tb(error.__traceback__)[-1]
            told = (str(error) or repr(error)).partition("\n")[0]
            raise TaskDataError(
                f"{self.name}: {method} failed in {Path(where.filename).name}:{where.lineno} "
                f"({type(error).__name__}: {told}): mend it"
            ) from error

    def _rows(self, split: Split, method: str) -> list[Row]:
        rows = self._asked(method)
        if not isinstance(rows, list) or not rows:
            raise TaskDataError(f"{self.name}: {method} gave {rows!r}: return a list of rows")
        for place, row in enumerate(rows):
            complaint = row_complaint(row)
            if complaint is None and row.facts.keys() != rows[0].facts.keys():
                complaint = f"has the facts {sorted(row.facts)}: give every row those of row 0"
            if complaint is not None:
                raise TaskDataError(f"{self.name}: row {place} of {method} {complaint}")
        return [
            dataclasses.replace(row, data_source=self.name, split=split, index=index)
            for index, row in enumerate(rows)
        ]


def _built(kind: type[Any], settings: Mapping[str, Any], reference: str) -> Task:
    try:
        return cast(Task, kind(**settings))
    except TypeError as error:
        given = ", ".join(settings) or "nothing, as workers build it to judge"
        raise ValueError(
            f"task.settings: {reference} can't be built with {given} ({error}): "
            "use its own fields, and give each a default"
        ) from error
