"""The registry: tasks by name, verifiers by data source, and no heavy import on the way."""

import subprocess
import sys
from pathlib import Path

import pytest

from copris_core.tasks import TASKS, DaysTask, Gsm8kTask, get_task, task_for

STACK = ["torch", "verl", "ray", "vllm", "omegaconf", "transformers"]
HEAVY = [*STACK, "datasets", "pyarrow", "math_verify"]


def test_a_task_is_built_by_name_with_its_settings():
    assert get_task("days", rows=3) == DaysTask(rows=3)
    assert get_task("gsm8k", path="x.jsonl") == Gsm8kTask(path="x.jsonl")


def test_names_and_data_sources_agree():
    for name in TASKS:
        assert get_task(name).name == name
        assert task_for(name).name == name
    assert DaysTask(rows=1).train_rows()[0].data_source == "days"
    assert task_for("openai/gsm8k") == Gsm8kTask()


@pytest.mark.parametrize(
    ("name", "mend"),
    [("day", "'days'"), ("gsm-8k", "'gsm8k'"), ("zzz", "one of days, forced, gsm8k")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, mend):
    for look_up in (get_task, task_for):
        with pytest.raises(ValueError, match=f"unknown task {name!r}.*{mend}"):
            look_up(name)


def test_an_unknown_setting_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown setting task\.val_row: did you mean 'val_rows'"):
        get_task("days", val_row=3)


def test_the_room_imports_without_the_stack():
    code = (
        "import sys, copris_core.tasks, copris_core.tasks.demonstrations\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
