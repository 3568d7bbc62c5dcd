"""Finds a task by its name, and the verifier of a row by its data source.

A task's module is imported when it is first asked for, so that a worker that judges days rows
never loads what the other domains need. This file refuses to know what any task does.
"""

import dataclasses
import functools
import importlib
from typing import Any, Final, cast

from copris_core.own_code import nearest
from copris_core.tasks.task import Task

TASKS: Final[dict[str, str]] = {
    "days": "arithmetic:DaysTask",
    "forced": "forced:ForcedTask",
    "gsm8k": "gsm8k:Gsm8kTask",
    "math": "math_task:MathTask",
    "code": "code_task:CodeTask",
    "stem": "stem_task:StemTask",
    "logic": "logic_task:LogicTask",
    "instruction": "instruction_task:InstructionTask",
    "mix": "mix_task:MixTask",
    "file": "file_task:FileTask",
    "custom": "custom_task:CustomTask",
}
"""Name of a task: its module in this room and its class."""

COLLECTIONS: Final = ("mix", "file", "custom")
"""Tasks that hand out the rows of others; their name is no data source."""

SAME_DATA_SOURCE: Final = {
    "openai/gsm8k": "gsm8k",
    "lighteval/MATH": "math",
    "DigitalLearningGmbH/MATH-lighteval": "math",
    "HuggingFaceH4/MATH-500": "math",
    "math_dapo": "math",
    "math_dapo_reasoning": "math",
}
"""What verl's own scripts write into rows, and the task that judges it."""


def get_task(name: str, **settings: Any) -> Task:
    """Build a task by its name; ``settings`` are the fields of its class.

    Raises:
        ValueError: unknown name or setting, or a setting out of range.
    """
    kind = task_class(name)
    known = [field.name for field in dataclasses.fields(kind)]
    for setting in settings:
        if setting not in known:
            raise ValueError(f"unknown setting task.{setting}: {nearest(setting, known)}")
    return cast(Task, kind(**settings))


def task_class(name: str) -> type[Any]:
    """The class of a task, its module imported.

    Raises:
        ValueError: unknown name.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: {nearest(name, TASKS)}")
    module, _, kind = TASKS[name].partition(":")
    loaded: type[Any] = getattr(importlib.import_module(f"copris_core.tasks.{module}"), kind)
    return loaded


@functools.cache
def task_for(data_source: str) -> Task:
    """Return the task that judges rows of a data source; its settings are the defaults.

    It is asked for every response, so each is built once in a process. A data source with a colon
    is the reference of a custom task, whose code is then loaded: see ``custom_task.py``.

    Raises:
        ValueError: no task knows this data source.
    """
    if ":" in data_source:
        return get_task("custom", cls=data_source)
    if data_source in COLLECTIONS:
        raise ValueError(f"{data_source!r} judges nothing: a row names the task that judges it")
    return get_task(SAME_DATA_SOURCE.get(data_source, data_source))
