from pathlib import Path

import pytest

from copris_core.report.engine_steps import HEADER, read_engine_steps


def _write(run: Path, text: str, pid: int = 7) -> Path:
    (run / "engine").mkdir(exist_ok=True)
    path = run / "engine" / f"steps-{pid}.csv"
    path.write_text(text)
    return path


def test_a_run_without_logs_has_no_steps(tmp_path: Path) -> None:
    assert read_engine_steps(tmp_path) is None


@pytest.mark.parametrize("text", ["", "begin_s,sec", f"{HEADER}\n", f"{HEADER}\n12.5,0."])
def test_a_log_that_was_cut_off_before_its_first_line_counts_as_none(
    tmp_path: Path, text: str
) -> None:
    _write(tmp_path, text)
    assert read_engine_steps(tmp_path) is None


def test_processes_are_merged_by_time_and_told_apart(tmp_path: Path) -> None:
    _write(tmp_path, f"{HEADER}\n1700000000.250000,0.5,3,10,3\n1700000002.0,0.25,2,0,2\n", pid=1)
    _write(tmp_path, f"{HEADER}\n1700000001.0,0.125,7,0,7\n", pid=2)

    steps = read_engine_steps(tmp_path)

    assert steps is not None
    assert steps.num_engines == 2
    assert steps.begin_s_N.tolist() == [1700000000.25, 1700000001.0, 1700000002.0]
    assert steps.engine_N.tolist() == [0, 1, 0]
    assert steps.running_N.tolist() == [3, 7, 2]
    first = steps.of_engine(0)
    assert first.seconds_N.tolist() == [0.5, 0.25]
    assert first.prefill_tokens_N.tolist() == [10, 0]
    assert first.decode_tokens_N.tolist() == [3, 2]


@pytest.mark.parametrize("tail", ["3.0,0.1,1,0,12", "3.0,0.1,1,0,", "3.0,0", "x"])
def test_a_last_line_without_its_newline_is_left_out_even_if_it_reads_well(
    tmp_path: Path, tail: str
) -> None:
    # 12 may have been 128: nothing tells.
    _write(tmp_path, f"{HEADER}\n2.0,0.1,1,0,1\n{tail}")
    steps = read_engine_steps(tmp_path)
    assert steps is not None
    assert steps.begin_s_N.tolist() == [2.0]


@pytest.mark.parametrize(
    "line", ["3.0,0.1,1,0", "3.0,0.1,1,0,1,1", "3.0,x,1,0,1", "", "3,-1,1,0,1"]
)
def test_any_other_malformed_line_is_one_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = _write(tmp_path, f"{HEADER}\n2.0,0.1,1,0,1\n{line}\n4.0,0.1,1,0,1\n")
    with pytest.raises(ValueError, match=r"steps-7\.csv line 3 is not five numbers") as caught:
        read_engine_steps(tmp_path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_five_wrong_columns_in_every_line_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, f"{HEADER}\n1,2,3\n4,5,6\n")
    with pytest.raises(ValueError, match="line 2 is not five numbers"):
        read_engine_steps(tmp_path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "a,b\n1,2\n")
    with pytest.raises(ValueError, match="line 1 is not 'begin_s"):
        read_engine_steps(tmp_path)
