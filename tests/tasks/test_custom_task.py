"""A user's own class: found, checked, and found again by a worker from the row alone."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from copris_core.tasks import TaskDataError, get_task, task_for
from copris_core.tasks.custom_task import CustomTask

ROOT = Path(__file__).parents[2]
HEAD = "from copris_core.tasks import Message, Row, Verdict\n"
CLASS = (
    HEAD
    + """
def row(ask="Q", truth="1", facts=None, split="train"):
    prompt = (Message(role="user", content=ask),)
    return Row(data_source="x", prompt=prompt, ability="a", ground_truth=truth, split=split,
               index=5, facts={} if facts is None else facts)

class Mine:
    def __init__(self, rows=2): self.rows = rows
    def train_rows(self): return [row(f"Q{i}") for i in range(self.rows)]
    def validation_rows(self): return [row("V", split="test")]
    def score(self, text, ground_truth): return Verdict(score=float(text == "yes"), reason="r")
"""
)


def write(folder: Path, source: str, name: str = "mine.py") -> str:
    (folder / name).write_text(source)
    return f"{folder / name}:Mine"


def example() -> str:
    """The class in docs/tasks.md."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/tasks.md").read_text(), re.DOTALL)
    return block


def test_the_example_of_the_docs_trains_and_judges(tmp_path, monkeypatch):
    assert len(example().splitlines()) <= 50
    (tmp_path / "my_tasks.py").write_text(example())
    monkeypatch.chdir(tmp_path)
    task = get_task("custom", cls="my_tasks:Palindromes", settings={"rows": 500, "val_rows": 20})
    train, held_out = task.train_rows(), task.validation_rows()
    assert (len(train), len(held_out)) == (500, 20)
    assert {each.data_source for each in train} == {f"{tmp_path}/my_tasks.py:Palindromes"}
    first = held_out[0]
    asked = json.loads(first.ground_truth)
    half = asked["start"] + "x" * ((asked["letters"] + 1) // 2 - 2)
    answer = half + half[: asked["letters"] // 2][::-1]
    judge = task_for(first.data_source).score
    assert judge(f"Let me see. #### {answer}", first.ground_truth).score == 1
    assert judge("#### aa", first.ground_truth).score == 0.5
    assert judge("#### ab", first.ground_truth).reason == "no palindrome"


def test_another_process_finds_the_verifier_from_the_row_alone(tmp_path, monkeypatch):
    write(tmp_path, CLASS)
    monkeypatch.chdir(tmp_path)
    source = CustomTask(cls="mine.py:Mine").train_rows()[0].data_source
    code = (
        "import sys; from copris_core.tasks import task_for; print(task_for(sys.argv[1]).score("
        "'yes', '1').score)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1.0"


def test_a_class_of_an_installed_module_keeps_its_reference():
    reference = "copris_core.tasks.arithmetic:DaysTask"
    task = CustomTask(cls=reference, settings={"rows": 3, "val_rows": 2})
    assert [each.data_source for each in task.train_rows()] == [reference] * 3
    assert task_for(reference).score("#### 5", "5").score == 1


def test_rows_are_numbered_and_named_anew(tmp_path):
    reference = write(tmp_path, CLASS)
    task = CustomTask(cls=reference, settings={"rows": 3})
    rows = [*task.train_rows(), *task.validation_rows()]
    assert [(each.split, each.index) for each in rows] == [
        *(("train", 0), ("train", 1), ("train", 2)),
        ("test", 0),
    ]
    assert {each.data_source for each in rows} == {reference}


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("", "task.cls='' names no class: write package.module:Class or"),
        ("mine.py", "names no class: write package.module:Class or path/to/file.py:Class"),
        ("mine.py:", "names no class"),
        ("mine.py:a-b", "names no class"),
        ("nowhere.py:Mine", "no such module, and no file .*nowhere.py: write"),
        ("no_such.module:Mine", "no such module, and no file .*no_such/module.py: write"),
        ("..:Mine", "no such module"),
        ("mine.py:Mein", "has no class Mein: did you mean 'Mine'"),
        ("mine.py:row", "has no class row"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused(reference, line, tmp_path, monkeypatch):
    write(tmp_path, CLASS)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=line):
        CustomTask(cls=reference)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import no_such_package", r"mine\.py can't be imported \(ModuleNotFoundError: No module"),
        ("class Mine:", r"can't be imported \((IndentationError|SyntaxError): "),
        ("1 / 0", r"can't be imported \(ZeroDivisionError: division by zero\): mend it"),
        ("class Mine:\n    score = None", "lacks train_rows, validation_rows, score: see docs"),
        (CLASS.replace("rows=2", "rows"), "can't be built with nothing, as workers build it"),
    ],
)
def test_a_class_that_cannot_serve_is_refused(source, line, tmp_path):
    with pytest.raises(ValueError, match=line) as refusal:
        CustomTask(cls=write(tmp_path, source))
    assert "\n" not in str(refusal.value)


def test_settings_that_the_class_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"task\.settings: .*can't be built with rws .*'rws'"):
        CustomTask(cls=write(tmp_path, CLASS), settings={"rws": 3})


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("[]", r"train_rows gave \[\]: return a list of rows"),
        ("None", "train_rows gave None: return a list of rows"),
        ("[row(), 3]", "row 1 of train_rows is int, not a Row: build it with"),
        ("[row(truth=5)]", "row 0 of train_rows has the ground truth 5: give text"),
        ("[row(truth=' ')]", "has the ground truth ' ': give text"),
        ("[row(ask='')]", "has a message without text"),
        ("[row(ask='\\ud800')]", "has a message without text"),
        ("[row(facts={'a': 0.5})]", "has the fact 'a': 0.5: keep text, and int of 64 bits"),
        ("[row(facts={'a': True})]", "has the fact 'a': True: keep text, and int"),
        ("[row(facts={'a': 1}), row()]", r"row 1 of train_rows has the facts \[\]: give every"),
        ("[row(' V ')]", "row 0 of train_rows asks what row 0 of validation_rows asks: hold it"),
    ],
)
def test_malformed_rows_are_refused_with_their_place(rows, line, tmp_path):
    source = CLASS.replace('[row(f"Q{i}") for i in range(self.rows)]', rows)
    with pytest.raises(TaskDataError, match=line):
        CustomTask(cls=write(tmp_path, source)).train_rows()


@pytest.mark.parametrize("verdict", ["1.0", "Verdict(score=2.0, reason='')", "None"])
def test_a_verdict_out_of_range_is_refused(verdict, tmp_path):
    source = CLASS.replace('Verdict(score=float(text == "yes"), reason="r")', verdict)
    with pytest.raises(ValueError, match=r"score gave .*: return Verdict\(score=0\.\.1, reason="):
        CustomTask(cls=write(tmp_path, source)).score("yes", "1")


def test_two_files_of_one_name_do_not_become_one(tmp_path):
    references = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        reason = CLASS.replace('reason="r"', f'reason="{folder}"')
        references.append(write(tmp_path / folder, reason))
    assert [task_for(each).score("", "1").reason for each in references] == ["a", "b"]


def test_threads_that_judge_at_once_load_the_file_once(tmp_path):
    slow = f"""
import time
with open({str(tmp_path / "loaded")!r}, "a") as loaded:
    loaded.write("x")
time.sleep(0.05)
"""
    reference = write(tmp_path, slow + CLASS)
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda _: task_for(reference).score("yes", "1"), range(8)))
    assert {each.score for each in verdicts} == {1.0}
    assert (tmp_path / "loaded").read_text() == "x"


def test_a_class_may_say_what_a_response_answers_and_bring_a_test_set(tmp_path):
    silent = CustomTask(cls=write(tmp_path, CLASS, "silent.py"))
    assert silent.answer("it is #### 7") == "7"
    assert silent.test_rows() == silent.validation_rows()
    more = (
        "    def answer(self, text): return text.upper()\n"
        "    def test_rows(self): return [row('T', split='test'), row('U', split='test')]\n"
    )
    told = CustomTask(cls=write(tmp_path, CLASS + more, "told.py"))
    assert told.answer("seven") == "SEVEN"
    assert [each.prompt[0].content for each in told.test_rows()] == ["T", "U"]


def test_code_that_fails_is_told_in_one_line_with_its_place(tmp_path):
    broken = CLASS.replace('return [row("V", split="test")]', "return [1 / 0]")
    task = CustomTask(cls=write(tmp_path, broken, "broken.py"))
    complaint = r"validation_rows failed in broken\.py:\d+ \(ZeroDivisionError: division by zero\)"
    with pytest.raises(TaskDataError, match=complaint) as told:
        task.validation_rows()
    assert "\n" not in str(told.value)
