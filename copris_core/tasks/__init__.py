"""Tasks: where rows come from, and how a response is judged. Found by name in ``registry.py``.

One file a task. The room refuses to know verl, ray and vllm: ``rows.py`` writes verl's schema, and
the adapter calls ``task_for(data_source).score``. Nothing but the standard library is imported
before a function needs it.
"""

from copris_core.tasks.arithmetic import DaysTask
from copris_core.tasks.forced import ForcedTask
from copris_core.tasks.gsm8k import Gsm8kTask
from copris_core.tasks.registry import TASKS, get_task, task_for
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
