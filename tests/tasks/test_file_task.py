"""Rows from files: everything that is wrong is told with its line and the mend."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks import DaysTask, TaskDataError, get_task, task_for, write_parquet
from copris_core.tasks.file_task import FileTask

pytest.importorskip("pyarrow.parquet", reason="comes with the extra cpu")

GOOD = {
    "data_source": "days",
    "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "5"},
    "extra_info": {"split": "train", "index": 7, "days": 5},
}


def asking(question: str, **changes: object) -> dict[str, object]:
    return {**GOOD, "prompt": [{"role": "user", "content": question}], **changes}


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def files(folder: Path, *rows: object) -> FileTask:
    train = jsonl(folder / "train.jsonl", *rows)
    return FileTask(path=train, val_path=jsonl(folder / "val.jsonl", asking("Held out?")))


def test_parquet_gives_back_the_rows_that_were_written(tmp_path):
    days = DaysTask(rows=20, val_rows=5)
    task = get_task(
        "file",
        path=str(write_parquet(days.train_rows(), tmp_path / "train.parquet")),
        val_path=str(write_parquet(days.validation_rows(), tmp_path / "val.parquet")),
    )
    assert task.train_rows() == days.train_rows()
    assert task.validation_rows() == days.validation_rows()


def test_jsonl_rows_are_read_and_judged(tmp_path):
    task = files(tmp_path, GOOD, "", asking("Another?", ability=None, extra_info=None))
    first, second = task.train_rows()
    assert (first.index, first.split, first.ground_truth, first.facts) == (
        *(0, "train", "5"),
        {"days": 5},
    )
    assert (second.ability, second.facts) == ("unknown", {"days": -1})
    assert [each.role for each in first.prompt] == ["system", "user"]
    assert task.validation_rows()[0].split == "test"
    assert task_for(first.data_source).score("#### 5", first.ground_truth).score == 1


def test_facts_of_other_kinds_are_kept_as_text(tmp_path):
    facts = {"a": 0.5, "b": [1, "x"], "c": None, "d": True, "e": "text", "f": 2**70, "g": "\ud800"}
    (first,) = files(tmp_path, asking("Q?", extra_info=facts)).train_rows()
    assert dict(first.facts) == {
        **{"a": "0.5", "b": '[1, "x"]', "d": "true", "e": "text", "days": -1},
        **{"f": str(2**70), "g": '"\\ud800"'},
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
MESSAGE = st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": JSON})
ROW = st.fixed_dictionaries(
    {},
    optional={
        "data_source": st.just("days") | JSON,
        "prompt": st.lists(MESSAGE, max_size=2) | JSON,
        "ability": JSON,
        "reward_model": st.fixed_dictionaries({"ground_truth": st.just("5") | JSON}) | JSON,
        "extra_info": JSON,
    },
)


@given(row=ROW, is_plain=st.booleans())
def test_whatever_a_line_holds_it_is_read_or_refused_with_its_place(row, is_plain):
    plain = {k: GOOD[k] for k in ("data_source", "prompt", "reward_model") if is_plain}
    with tempfile.TemporaryDirectory() as folder:
        task = files(Path(folder), GOOD, {**row, **plain})
        try:
            rows = task.train_rows()
        except TaskDataError as refusal:
            told = str(refusal)
        else:
            told = ""
            write_parquet([*rows, *task.validation_rows()], Path(folder) / "written.parquet")
    assert not told or "/train.jsonl:2: " in told


def test_sizes_take_the_first_rows(tmp_path):
    task = files(tmp_path, *(asking(f"Q{i}?") for i in range(5)))
    some = FileTask(path=task.path, val_path=task.val_path, rows=2, val_rows=1)
    assert [each.prompt[0].content for each in some.train_rows()] == ["Q0?", "Q1?"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object but list"),
        ({**GOOD, "images": [1]}, "column 'images' would be lost; remove it"),
        ({**GOOD, "data_source": None}, "data_source is None; give text, such as 'days'"),
        ({**GOOD, "data_source": "dais"}, "no verifier for data_source 'dais': unknown task"),
        ({**GOOD, "data_source": "mix"}, "no verifier for data_source 'mix'"),
        ({**GOOD, "prompt": None}, "no list of messages under 'prompt'"),
        ({**GOOD, "prompt": "Q?"}, "no list of messages under 'prompt'"),
        ({**GOOD, "prompt": []}, "no list of messages under 'prompt'"),
        ({**GOOD, "prompt": ["Q?"]}, "a message without text"),
        ({**GOOD, "prompt": [{"role": "user", "content": " "}]}, "a message without text"),
        ({**GOOD, "prompt": [{"role": "user", "content": "\ud800"}]}, "a message without text"),
        ({**GOOD, "prompt": [{"role": "tool", "content": "Q"}]}, "with the role 'tool'; use one"),
        ({**GOOD, "prompt": [{"role": "system", "content": "Q"}]}, "nobody asks at the end"),
        ({**GOOD, "reward_model": None}, "no object under 'reward_model'"),
        ({**GOOD, "reward_model": {"style": "model"}}, "reward_model.style is 'model'"),
        ({**GOOD, "reward_model": {"ground_truth": 5}}, "reward_model.ground_truth is 5; give"),
        ({**GOOD, "reward_model": {"ground_truth": ""}}, "reward_model.ground_truth is ''; give"),
        ({**GOOD, "ability": 3}, "ability is 3; give text, such as 'math'"),
        ({**GOOD, "extra_info": "x"}, "extra_info is 'x'; give an object"),
    ],
)
def test_a_malformed_row_is_told_with_its_line_and_the_mend(row, line, tmp_path):
    with pytest.raises(TaskDataError) as refusal:
        files(tmp_path, GOOD, row).train_rows()
    told = str(refusal.value)
    assert told.startswith(f"{tmp_path}/train.jsonl:2: ")
    assert line in told
    assert "\n" not in told


def test_a_malformed_parquet_row_is_told_with_its_number(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "train.parquet"
    pq.write_table(pa.Table.from_pylist([GOOD, {**GOOD, "data_source": ""}]), path)
    with pytest.raises(TaskDataError, match=r"train\.parquet row 2: data_source is ''; give text"):
        FileTask(path=str(path), val_path=str(path)).train_rows()


def test_bytes_that_are_no_text_and_no_parquet_are_told(tmp_path):
    (tmp_path / "bad.jsonl").write_bytes(b"\xff\n")
    (tmp_path / "bad.parquet").write_bytes(b"\xff\n")
    (tmp_path / "rows.csv").write_text("x")
    (tmp_path / "none.jsonl").write_text("\n")
    for name, line in {
        "bad.jsonl": r"bad\.jsonl:1: not JSON",
        "bad.parquet": r"bad\.parquet: not a parquet file",
        "rows.csv": "unknown kind of file; give a .parquet or .jsonl file",
        "none.jsonl": "no rows; write one",
        "nowhere.jsonl": "no such file; give a .parquet or .jsonl file",
    }.items():
        with pytest.raises(TaskDataError, match=line):
            FileTask(path=str(tmp_path / name), val_path="x").train_rows()


def test_a_prompt_in_both_files_is_refused_with_both_lines(tmp_path):
    train = jsonl(tmp_path / "train.jsonl", GOOD, asking("One?"), asking("Two?"))
    held_out = jsonl(tmp_path / "val.jsonl", asking("Other?"), asking(" One?\n"))
    with pytest.raises(
        TaskDataError, match=r"train\.jsonl:2 asks what .*val\.jsonl:2 validates on: remove one"
    ):
        FileTask(path=train, val_path=held_out).train_rows()


def test_rows_of_a_test_set_are_neither_trained_on_nor_chosen_by(tmp_path):
    tested = asking("Benchmark?", data_source="HuggingFaceH4/MATH-500")
    train, held_out = jsonl(tmp_path / "t.jsonl", GOOD), jsonl(tmp_path / "v.jsonl", tested)
    with pytest.raises(TaskDataError, match=r"v\.jsonl:1: .* is a test set.*`copris eval"):
        FileTask(path=train, val_path=held_out).validation_rows()


def test_a_file_cannot_make_a_run_load_code_that_nobody_asked_for(tmp_path):
    code = tmp_path / "mine.py"
    code.write_text("raise SystemExit('loaded')")
    row = {**GOOD, "data_source": f"{code}:Mine"}
    with pytest.raises(TaskDataError, match=r"train\.jsonl:1: .* is code that nobody asked for"):
        files(tmp_path, row).train_rows()
    reference = "copris_core.tasks.arithmetic:DaysTask"
    allowed = files(tmp_path, {**GOOD, "data_source": reference})
    task = FileTask(path=allowed.path, val_path=allowed.val_path, custom=[reference])
    assert task.train_rows()[0].data_source == reference


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, r"task\.path is missing: give a \.parquet or \.jsonl file"),
        ({"path": "x"}, r"task\.val_path is missing"),
        ({"path": "x", "val_path": "y", "rows": 0}, r"task\.rows is 0: set it to 1 or more"),
        ({"path": "x", "val_path": "y", "val_rows": 0}, r"task\.val_rows is 0: set it to 1"),
    ],
)
def test_a_wrong_setting_is_refused(settings, line):
    with pytest.raises(ValueError, match=line):
        FileTask(**settings)


def test_a_file_judges_nothing():
    with pytest.raises(ValueError, match="a file judges nothing"):
        FileTask(path="x", val_path="y").score("", "")
