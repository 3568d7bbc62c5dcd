"""Tasks: where rows come from, and how a response is judged. Found by name here.

One file a task. The room refuses to know verl, ray and vllm: ``rows.py`` writes verl's schema, and
the adapter calls ``task_for(data_source).score``. Nothing but the standard library is imported
before a function needs it.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from copris_core.tasks.arithmetic import NAME as DAYS
from copris_core.tasks.arithmetic import DaysTask
from copris_core.tasks.forced import NAME as FORCED
from copris_core.tasks.forced import ForcedTask
from copris_core.tasks.gsm8k import NAME as GSM8K
from copris_core.tasks.gsm8k import Gsm8kTask
from copris_core.tasks.rows import verl_row, write_parquet
from copris_core.tasks.task import Message, Row, Split, Task, TaskDataError, Verdict

__all__ = [
    "TASKS",
    "DaysTask",
    "ForcedTask",
    "Gsm8kTask",
    "Message",
    "Row",
    "Split",
    "Task",
    "TaskDataError",
    "Verdict",
    "get_task",
    "task_for",
    "verl_row",
    "write_parquet",
]

TASKS: dict[str, type[DaysTask] | type[ForcedTask] | type[Gsm8kTask]] = {
    DAYS: DaysTask,
    FORCED: ForcedTask,
    GSM8K: Gsm8kTask,
}
_SAME_DATA_SOURCE = {"openai/gsm8k": GSM8K}  # what verl's own scripts write into the rows


def get_task(name: str, **settings: Any) -> Task:
    """Build a task by its name; ``settings`` are the fields of its class.

    Raises:
        ValueError: unknown name or setting, or a setting out of range.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: {_nearest(name, TASKS)}")
    kind = TASKS[name]
    known = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in known:
            raise ValueError(f"unknown setting task.{setting}: {_nearest(setting, known)}")
    return kind(**settings)


def task_for(data_source: str) -> Task:
    """Return the task that judges rows of a data source; its settings are the defaults.

    Raises:
        ValueError: no task knows this data source.
    """
    return get_task(_SAME_DATA_SOURCE.get(data_source, data_source))


def _nearest(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(known)}"
