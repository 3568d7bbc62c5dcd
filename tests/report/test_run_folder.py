import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.report.run_folder import (
    MetricsTail,
    RunFolder,
    read_config,
    read_json,
    read_metrics,
    write_json,
)

ROWS = [{"step": i, "time_s": 1.5 * i, "reward/mean": 0.1 * i} for i in range(3)]


def _folder(tmp_path: Path, rows: list[dict[str, float]] = ROWS) -> RunFolder:
    folder = RunFolder.create(tmp_path, "grpo", "2026-01-02_03-04-05")
    for row in rows:
        folder.append_metrics(row)
    return folder


def _refuse(text: str) -> None:
    pytest.fail(f"nothing is torn here: {text}")


def test_a_run_lies_under_its_experiment_and_time(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert folder.path == tmp_path / "grpo" / "2026-01-02_03-04-05"
    assert folder.config_path.name == "config.yaml"
    assert folder.summary_path.name == "summary.json"


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    _folder(tmp_path)
    with pytest.raises(ValueError, match="exists: give another time stamp"):
        _folder(tmp_path)


def test_metrics_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_metrics(_folder(tmp_path).metrics_path, on_torn=_refuse) == ROWS


def test_a_row_is_one_line_on_disk_at_once(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    lines = folder.metrics_path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_nan_and_inf_are_written_as_null(tmp_path: Path) -> None:
    broken = {"step": 1, "time_s": 2.0, "a": math.nan, "b": -math.inf, "c": None}
    folder = _folder(tmp_path, [broken])
    assert "NaN" not in folder.metrics_path.read_text()
    [row] = read_metrics(folder.metrics_path)
    assert (row["a"], row["b"], row["c"]) == (None, None, None)


def test_numpy_numbers_are_written_as_plain_ones(tmp_path: Path) -> None:
    row = {"step": np.int64(3), "time_s": np.float32(0.5), "n": np.int32(7)}
    folder = _folder(tmp_path, [row])
    assert folder.metrics_path.read_text() == '{"step": 3, "time_s": 0.5, "n": 7}\n'


def test_a_row_without_step_or_time_is_refused_and_not_written(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    before = folder.metrics_path.read_bytes()
    with pytest.raises(ValueError, match="lacks time_s"):
        folder.append_metrics({"step": 4})
    assert folder.metrics_path.read_bytes() == before


@given(cut=st.integers(0, 10_000))
def test_a_kill_at_any_byte_costs_at_most_the_row_being_written(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = _folder(tmp_path_factory.mktemp("run"))
    content = folder.metrics_path.read_bytes()
    kept = content[: cut % (len(content) + 1)]
    folder.metrics_path.write_bytes(kept)
    said: list[str] = []
    rows = read_metrics(folder.metrics_path, on_torn=said.append)
    assert rows == ROWS[: len(rows)]
    assert len(rows) >= kept.count(b"\n")
    assert bool(said) == (len(rows) < len(kept.splitlines()))

    folder.append_metrics({"step": 9, "time_s": 9.0})
    resumed = read_metrics(folder.metrics_path, on_torn=_refuse)
    assert resumed == [*rows, {"step": 9, "time_s": 9.0}]


def test_a_torn_last_line_is_reported_with_its_number(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with folder.metrics_path.open("a") as file:
        file.write('{"step": 3, "ti')
    with pytest.warns(UserWarning, match="line 4 was cut off by a kill"):
        assert read_metrics(folder.metrics_path) == ROWS


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        '{"step": "1"}',
        '{"step": 1.5}',
        '{"step": 1, "a": "b"}',
        '{"step": 1, "a": true}',
        "",
    ],
)
def test_any_other_malformed_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 0, "time_s": 0}}\n{line}\n{{"step": 2, "time_s": 2}}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl line 2 .*mend or delete that line"):
        read_metrics(path, on_torn=_refuse)
    with pytest.raises(ValueError, match=r"metrics\.jsonl line 2 "):
        MetricsTail(path).new_rows()


def test_missing_metrics_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no metrics at .*metrics\.jsonl"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_the_tail_gives_every_row_once_and_waits_for_the_newline(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = MetricsTail(path)
    assert tail.new_rows() == []
    seen = []
    for piece in ('{"step": 0}\n{"st', 'ep": 1}', "\n", '{"step": 2}\n{"step": 3}\n'):
        with path.open("a") as file:
            file.write(piece)
        seen.append([row["step"] for row in tail.new_rows()])
    assert seen == [[0], [], [1], [2, 3]]
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(ValueError, match="line 5 "):
        tail.new_rows()


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": math.nan})
    assert read_json(path) == {"a": 1}
    assert [x.name for x in tmp_path.iterdir()] == ["summary.json"]


def test_a_file_that_holds_no_object_is_named(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    with pytest.raises(ValueError, match=r"no file .*summary\.json"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"summary\.json holds no JSON object"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json is not JSON"):
        read_json(path)


def test_a_config_comes_back_nested_and_may_be_absent(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    assert read_config(folder.config_path) == {}
    folder.write_config("strategy:\n  name: copris\n")
    assert read_config(folder.config_path) == {"strategy": {"name": "copris"}}
    folder.write_config("- 1\n")
    with pytest.raises(ValueError, match="no mapping"):
        read_config(folder.config_path)
