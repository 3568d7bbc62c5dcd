"""The registry: tasks by name, verifiers by data source, and no heavy import on the way."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from copris_core.tasks import TASKS, DaysTask, Gsm8kTask, get_task, task_for
from copris_core.tasks.registry import COLLECTIONS

ROOT = Path(__file__).parents[2]
STACK = ["torch", "verl", "ray", "vllm", "omegaconf", "transformers"]
HEAVY = [*STACK, "datasets", "pyarrow", "math_verify", "reasoning_gym", "lm_eval", "nltk"]
ALONE = sorted(set(TASKS) - set(COLLECTIONS))


def test_a_task_is_built_by_name_with_its_settings():
    assert get_task("days", rows=3) == DaysTask(rows=3)
    assert get_task("gsm8k", path="x.jsonl") == Gsm8kTask(path="x.jsonl")


@pytest.mark.parametrize("name", ALONE)
def test_names_and_data_sources_agree(name):
    # Workers know the data source alone, so each must be buildable without a setting.
    assert get_task(name).name == name
    assert task_for(name).name == name


def test_rows_name_the_task_that_judges_them():
    assert DaysTask(rows=1).train_rows()[0].data_source == "days"
    assert task_for("openai/gsm8k") == Gsm8kTask()
    # verl's scripts write the bare answer of MATH as the ground truth.
    verdict = task_for("DigitalLearningGmbH/MATH-lighteval").score(
        r"\boxed{\dfrac12}", r"\frac{1}{2}"
    )
    assert verdict.score == 1


def test_a_verifier_is_built_once_and_not_for_every_response():
    assert task_for("days") is task_for("days")


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_task_that_hands_out_rows_of_others_is_no_data_source(name):
    with pytest.raises(ValueError, match=f"'{name}' judges nothing: a row names the task"):
        task_for(name)


@pytest.mark.parametrize(
    ("name", "mend"),
    [("day", "'days'"), ("gsm-8k", "'gsm8k'"), ("zzz", "one of code, custom, days, .*, stem")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, mend):
    for look_up in (get_task, task_for):
        with pytest.raises(ValueError, match=f"unknown task {name!r}.*{mend}"):
            look_up(name)


def test_an_unknown_setting_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown setting task\.val_row: did you mean 'val_rows'"):
        get_task("days", val_row=3)


def test_every_entry_names_a_module_of_the_room():
    modules = {entry.partition(":")[0] for entry in TASKS.values()}
    assert [m for m in modules if not importlib.util.find_spec(f"copris_core.tasks.{m}")] == []


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_has_a_config_of_its_name(name):
    text = (ROOT / "configs" / "task" / f"{name}.yaml").read_text()
    assert f"\n  name: {name}\n" in text


def test_the_room_imports_without_the_stack():
    code = (
        "import sys, copris_core.tasks, copris_core.tasks.demonstrations\n"
        "from copris_core.tasks import mix_task, file_task, custom_task, data_sets, task_for\n"
        "task_for('days').score('#### 5', '5')\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "print([name for name in sys.modules if name.startswith('copris_core.tasks.stem')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "[]"]
