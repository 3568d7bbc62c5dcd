"""Reading records: what is accepted, and that every complaint names the place and the mend."""

import json
import sys
from pathlib import Path

import pytest

from copris_core.tasks.records import Record, read_records
from copris_core.tasks.task import TaskDataError

GOOD = {"question": "1+1?", "answer": "#### 2"}


def _lines(tmp_path, *lines):
    file = tmp_path / "data.jsonl"
    file.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    )
    return str(file)


def test_blank_lines_are_skipped_and_still_counted(tmp_path):
    path = _lines(tmp_path, json.dumps(GOOD), "", "  ", json.dumps(GOOD), "")
    assert [record.line for record in read_records(path, split="train")] == [1, 4]


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("48/2=24\n#### 1,200", "1200"),
        ("#### -3", "-3"),
        ("#### $0.50", "0.50"),
        ("72", "72"),
        ("\\boxed{7}", "7"),
        ("#### 1000000000000000000000000000001", "1000000000000000000000000000001"),
    ],
)
def test_the_truth_is_a_plain_decimal(tmp_path, answer, truth):
    path = _lines(tmp_path, json.dumps({"question": " q ", "answer": answer, "more": 1}))
    assert read_records(path, split="test") == [Record(question="q", truth=truth, line=1)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        (b'{"question": "\xff"}', "not JSON"),
        ('["question", "answer"]', "not an object but list"),
        ('{"answer": "#### 2"}', "no text under 'question'"),
        ('{"question": "1+1?"}', "no text under 'answer'"),
        ('{"question": "1+1?", "answer": 2}', "no text under 'answer'"),
        ('{"question": " ", "answer": "#### 2"}', "no text under 'question'"),
        ('{"question": "1+1?", "answer": "two"}', "no number in 'answer'"),
        ('{"question": "1+1?", "answer": "2 #### two"}', "no number in 'answer'"),
        ('{"question": "1+1?", "answer": "#### nan"}', "no number in 'answer'"),
    ],
)
def test_a_malformed_line_is_named_with_the_mend(tmp_path, line, complaint):
    path = _lines(tmp_path, json.dumps(GOOD), "", line, json.dumps(GOOD))
    with pytest.raises(TaskDataError) as caught:
        read_records(path, split="train")
    message = str(caught.value)
    assert message.startswith(f"{path}:3: {complaint}")
    assert 'every row needs {"question": "...", "answer": "... #### 42"}' in message
    assert "\n" not in message


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(TaskDataError, match="no rows; every row needs"):
        read_records(_lines(tmp_path, ""), split="train")


@pytest.mark.parametrize("path", ["absent.jsonl", "data/absent.parquet", "/absent/x", "./absent"])
def test_a_missing_file_is_named_with_the_mend(path):
    with pytest.raises(TaskDataError, match=r"absent.*no such file; set task\.path to a \.jsonl"):
        read_records(path, split="train")


def test_an_unknown_kind_of_file_is_refused(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("question,answer\n")
    with pytest.raises(TaskDataError, match=r"unknown kind of file; give a \.jsonl or \.parquet"):
        read_records(str(file), split="train")
    with pytest.raises(TaskDataError, match="no such file"):
        read_records(str(tmp_path), split="train")


def _parquet(tmp_path, rows):
    pa = pytest.importorskip("pyarrow", reason="comes with the extra cpu")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    return str(tmp_path / "data.parquet")


def test_parquet_reads_like_jsonl(tmp_path):
    rows = [GOOD, {"question": "2+2?", "answer": "#### 4"}]
    jsonl = _lines(tmp_path, *map(json.dumps, rows))
    parquet = _parquet(tmp_path, rows)
    assert read_records(parquet, split="train") == read_records(jsonl, split="train")


def test_a_malformed_parquet_row_or_file_is_named(tmp_path):
    path = _parquet(tmp_path, [GOOD, {"question": "2+2?", "answer": None}])
    with pytest.raises(TaskDataError, match=r"data\.parquet row 2: no text under 'answer'"):
        read_records(path, split="train")
    Path(path).write_text("not parquet")
    with pytest.raises(TaskDataError, match=r"data\.parquet: not a parquet file"):
        read_records(path, split="train")


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"datasets is missing: pip install 'copris\[cpu\]'"):
        read_records("openai/gsm8k", split="train")
