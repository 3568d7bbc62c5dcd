"""Rows in verl's schema, through parquet and back."""

import pytest

from copris_core.tasks.arithmetic import DaysTask
from copris_core.tasks.gsm8k import Gsm8kTask
from copris_core.tasks.rows import verl_row, write_parquet
from copris_core.tasks.task import Message, Row

ROW = Row(
    data_source="days",
    prompt=(Message(role="system", content="S"), Message(role="user", content="Q?\n\u00e9")),
    ability="math",
    ground_truth="5",
    split="train",
    index=7,
    facts={"days": 5},
)


def test_a_row_becomes_verls_schema():
    assert verl_row(ROW) == {
        "data_source": "days",
        "prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q?\n\u00e9"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "5"},
        "extra_info": {"split": "train", "index": 7, "days": 5},
    }


def test_parquet_gives_back_what_was_written(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="comes with the extra cpu")
    rows = DaysTask(rows=20).train_rows()
    path = write_parquet(rows, tmp_path / "new" / "train.parquet")
    assert path == tmp_path / "new" / "train.parquet"
    assert pq.read_table(path).to_pylist() == [verl_row(row) for row in rows]
    assert [each.name for each in path.parent.iterdir()] == ["train.parquet"]


def test_writing_again_replaces_the_file(tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="comes with the extra cpu")
    path = tmp_path / "train.parquet"
    for rows in (DaysTask(rows=3).train_rows(), [ROW]):
        write_parquet(rows, path)
    assert pq.read_table(path).to_pylist() == [verl_row(ROW)]


def test_no_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no rows to write to .*: ask the task for 1 row or more"):
        write_parquet([], tmp_path / "train.parquet")


def test_ground_truth_stays_text():
    # verl hands it to the verifier as it is stored; a number would lose 0.50 and 10^30 + 1.
    truth = verl_row(ROW)["reward_model"]["ground_truth"]
    assert isinstance(truth, str)
    assert isinstance(Gsm8kTask().score("#### 5", truth).score, float)
