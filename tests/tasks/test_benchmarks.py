"""What `copris eval` is measured on: names, files and tasks, and one line for what is wrong."""

import json
from pathlib import Path

import pytest

from copris_core.tasks import benchmarks as room
from copris_core.tasks.benchmarks import NO_BENCHMARK, TEST_SETS, benchmarks, subject_and_level
from copris_core.tasks.gsm8k import Gsm8kTask
from copris_core.tasks.math_task import MathTask
from copris_core.tasks.registry import TASKS
from copris_core.tasks.task import Message, Row, TaskDataError

MATH_ROW = {"problem": "1+1?", "answer": "2", "subject": "Algebra", "level": 3}
GSM8K_ROW = {"question": "1+1?", "answer": "so\n#### 2"}


def _file(folder: Path, *rows: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _row(**facts: int | str) -> Row:
    return Row(
        data_source="days",
        prompt=(Message(role="user", content="?"),),
        ability="math",
        ground_truth="1",
        split="test",
        index=0,
        facts=facts,
    )


def test_words_name_benchmarks_some_with_a_file() -> None:
    found = benchmarks("gsm8k, math500=some/file.jsonl,days")
    assert [(each.name, each.place) for each in found] == [
        ("gsm8k", None),
        ("math500", "some/file.jsonl"),
        ("days", None),
    ]
    assert [each.source for each in found] == ["openai/gsm8k", "some/file.jsonl", "task days"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("math50", "--task math50 is unknown: did you mean 'math500'?"),
        ("", "--task names nothing"),
        (",", "--task names nothing"),
        ("days,days", "--task names days twice"),
        ("gsm8k=a.jsonl,gsm8k=b.jsonl", "--task names gsm8k twice"),
        ("gsm8k=", "name the file after ="),
        ("days=a.jsonl", "leave =a.jsonl out; rows of your own: file=FILE or math=FILE"),
        ("math", "--task math needs its rows: --task math=FILE"),
        ("custom", "--task custom needs its rows: --task custom=my_tasks.py:Class"),
        ("forced", "--task forced is unknown"),
    ],
)
def test_what_cannot_be_measured_is_one_line_with_the_mend(words: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"--task") as error:
        benchmarks(words)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_every_task_but_those_without_a_verdict_can_be_named() -> None:
    named = dict.fromkeys(("math", "file", "custom"), "x")
    for name in TASKS.keys() - set(NO_BENCHMARK):
        word = f"{name}={named[name]}" if name in named else name
        assert benchmarks(word)[0].name == name


def test_a_file_of_mathematics_keeps_its_subjects_levels_and_answers(tmp_path: Path) -> None:
    place = _file(tmp_path, MATH_ROW, MATH_ROW | {"problem": "2+2?", "answer": "4", "level": 5})
    rows = benchmarks(f"math500={place}")[0].rows()
    assert [(row.ground_truth, *subject_and_level(row)) for row in rows] == [
        ("2", "Algebra", "3"),
        ("4", "Algebra", "5"),
    ]
    assert [row.index for row in rows] == [0, 1]
    assert {row.data_source for row in rows} == {"math"}


def test_questions_are_asked_with_the_words_of_training(tmp_path: Path) -> None:
    gsm8k = benchmarks(f"gsm8k={_file(tmp_path, GSM8K_ROW)}")[0].rows()[0]
    assert gsm8k.prompt == (Message(role="user", content=f"1+1? {Gsm8kTask().answer_format}"),)
    math = benchmarks(f"minerva={_file(tmp_path, MATH_ROW)}")[0].rows()[0]
    assert math.prompt[-1].content == f"1+1? {MathTask().answer_format}"


def test_a_run_that_asked_in_its_own_words_is_evaluated_in_them(tmp_path: Path) -> None:
    trained_on = {"name": "math", "system_text": "Be brief.", "answer_format": "Box it.", "rows": 1}
    place = _file(tmp_path, MATH_ROW)
    (row,) = benchmarks(f"math500={place}")[0].rows(trained_on)
    assert row.prompt == (
        Message(role="system", content="Be brief."),
        Message(role="user", content="1+1? Box it."),
    )
    (other,) = benchmarks(f"math500={place}")[0].rows(trained_on | {"name": "gsm8k"})
    assert "Box it." not in other.prompt[-1].content


def test_a_prompt_in_verls_schema_is_used_as_it_is(tmp_path: Path) -> None:
    prompt = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    row = {"prompt": prompt, "reward_model": {"ground_truth": "2"}}
    (read,) = benchmarks(f"math={_file(tmp_path, row)}")[0].rows()
    assert [each.content for each in read.prompt] == ["s", "q"]


VERL_ROW = {
    "data_source": "days",
    "prompt": [{"role": "user", "content": "q"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"split": "test", "index": 0},
}


def test_rows_of_several_tasks_come_from_one_file_in_verls_schema(tmp_path: Path) -> None:
    place = _file(tmp_path, VERL_ROW, VERL_ROW | {"data_source": "gsm8k"})
    rows = benchmarks(f"file={place}")[0].rows()
    assert [(row.data_source, row.ground_truth) for row in rows] == [("days", "2"), ("gsm8k", "2")]


@pytest.mark.parametrize(
    ("data_source", "told"),
    [("mine.py:Evil", "is code that nobody asked for"), ("dayz", "unknown task 'dayz'")],
)
def test_a_file_cannot_name_code_or_a_task_that_is_not_there(
    tmp_path: Path, data_source: str, told: str
) -> None:
    place = _file(tmp_path, VERL_ROW, VERL_ROW | {"data_source": data_source})
    with pytest.raises(TaskDataError, match=told) as error:
        benchmarks(f"file={place}")[0].rows()
    assert str(error.value).startswith(f"{place}:2: ")


def test_a_hub_that_gives_nothing_says_how_to_name_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, **_: object) -> None:
        raise TaskDataError(f"{path}: no answer; or set task.path to a local file")

    monkeypatch.setattr(room, "read_math_records", refuse)
    with pytest.raises(TaskDataError) as error:
        benchmarks("aime24")[0].rows()
    assert str(error.value) == (
        "HuggingFaceH4/aime_2024: no answer; or give its rows as a file: --task aime24=FILE"
    )


def test_each_published_set_asks_for_its_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def read(path: str, *, splits: tuple[str, ...]) -> tuple[list[object], str]:
        asked[path] = splits
        return [], splits[0]

    monkeypatch.setattr(room, "read_math_records", read)
    for name, known in TEST_SETS.items():
        if known.style == "math":
            benchmarks(name)[0].rows()
    assert asked.pop("HuggingFaceH4/aime_2024") == ("train",)  # its only split
    assert set(asked.values()) == {("test",)}
    assert len(asked) == len(TEST_SETS) - 2


def test_a_task_is_measured_on_its_test_rows_where_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class WithTest:
        def validation_rows(self) -> list[Row]:
            return []

        def test_rows(self) -> list[Row]:
            return [_row()]

    monkeypatch.setattr(room, "get_task", lambda name: WithTest())
    assert benchmarks("code")[0].rows() == [_row()]


def test_a_mix_is_the_one_that_the_run_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mix:
        def __init__(self, **settings: object) -> None:
            self.settings = settings

        def validation_rows(self) -> list[Row]:
            return [_row(parts=str(self.settings))]

    monkeypatch.setattr(room, "get_task", lambda name, **settings: Mix(**settings))
    (row,) = benchmarks("mix")[0].rows({"name": "mix", "parts": 1})
    assert row.facts["parts"] == "{'parts': 1}"
    for trained_on in (None, {"name": "days"}):
        with pytest.raises(ValueError, match="name its parts instead"):
            benchmarks("mix")[0].rows(trained_on)


def test_other_tasks_are_measured_on_rows_held_out_from_training() -> None:
    rows = benchmarks("days")[0].rows()
    assert rows
    assert {row.split for row in rows} == {"test"}


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({"subject": "Algebra", "level": 3}, ("Algebra", "3")),
        ({"subject": "", "level": 0}, ("", "")),
        ({"subject": "", "level": -1, "dataset": "sudoku"}, ("sudoku", "")),
        ({"stock": 8}, ("", "")),
    ],
)
def test_a_row_says_its_subject_and_level_as_far_as_it_knows(
    facts: dict[str, int | str], found: tuple[str, str]
) -> None:
    assert subject_and_level(_row(**facts)) == found
