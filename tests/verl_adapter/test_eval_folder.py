"""The folder of an evaluation: whole after any kill, and continued only by the same settings."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from copris_core.evaluation.eval_sample import EvalSample
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_folder import EvalFolder, locked
from copris_core.verl_adapter.eval_prompts import Prompt

SETTINGS = {"n": 2, "seed": 0, "weights": "abc"}


def _prompt(number: int) -> Prompt:
    return Prompt(
        uid=f"days:{number}",
        task="days",
        data_source="days",
        question="?",
        ground_truth="3",
        subject="",
        level="",
        tokens=(1, 2),
        max_tokens=8,
    )


PROMPTS = [_prompt(number) for number in range(12)]


def _sample(number: int, index: int) -> EvalSample:
    return EvalSample(
        uid=f"days:{number}",
        task="days",
        index=index,
        question="?",
        response=f"line one\nline two \u2028 {number} {index}",
        ground_truth="3",
        answer=None,
        score=0.0,
        correct=False,
        reason="no answer",
        num_tokens=3,
        finish="stop",
        subject="",
        level="",
    )


def _begun(path: Path, **changes: object) -> EvalFolder:
    folder = EvalFolder(path, PROMPTS, n=2)
    folder.begin({**SETTINGS, **changes})
    return folder


def test_all_samples_are_missing_at_first_in_data_order(tmp_path: Path) -> None:
    missing = _begun(tmp_path).missing()
    assert list(missing) == [f"days:{number}" for number in range(12)]
    assert set(map(tuple, missing.values())) == {(0, 1)}


def test_a_sample_that_was_added_is_there_for_the_next_process(tmp_path: Path) -> None:
    first = _begun(tmp_path)
    first.add(_sample(3, 1))
    first.add(_sample(0, 0))
    first.add(_sample(3, 0))
    second = _begun(tmp_path)
    assert second.num_done == 3
    assert second.samples == [_sample(0, 0), _sample(3, 0), _sample(3, 1)]
    assert second.missing()["days:0"] == [1]
    assert "days:3" not in second.missing()


def test_a_torn_last_line_is_sampled_again(tmp_path: Path) -> None:
    folder = _begun(tmp_path)
    folder.add(_sample(0, 0))
    folder.add(_sample(0, 1))
    whole = folder.samples_path.read_bytes()
    folder.samples_path.write_bytes(whole[:-9])
    again = _begun(tmp_path)
    assert again.missing()["days:0"] == [1]
    again.add(_sample(0, 1))
    assert folder.samples_path.read_bytes() == whole


def test_the_final_file_does_not_depend_on_who_finished_first(tmp_path: Path) -> None:
    files = []
    for name, order in (("a", (0, 10, 2)), ("b", (10, 2, 0))):
        folder = _begun_in(tmp_path / name)
        for number in order:
            folder.add(_sample(number, 0))
        folder.finish()
        files.append(folder.samples_path.read_bytes())
    assert files[0] == files[1]
    uids = [json.loads(line)["uid"] for line in files[0].splitlines()]
    assert uids == ["days:0", "days:2", "days:10"]  # data order, not the alphabet's


def _begun_in(path: Path) -> EvalFolder:
    path.mkdir()
    return _begun(path)


@pytest.mark.parametrize("change", [{"n": 3}, {"seed": 1}, {"weights": "x"}, {"new": 1}])
def test_other_settings_are_refused_in_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    _begun(tmp_path)
    ((key, value),) = change.items()
    with pytest.raises(ConfigError, match="name another folder by --out") as error:
        _begun(tmp_path, **change)
    assert f"with {key} {SETTINGS.get(key)}, this one has {value}" in str(error.value)
    assert "\n" not in str(error.value)


def test_samples_without_settings_are_somebody_elses(tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match=r"holds samples\.jsonl without eval\.json"):
        _begun(tmp_path)
    assert (tmp_path / "samples.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"uid": "days:99"}, "a sample of another evaluation"),
        ({"index": 2}, "a sample of another evaluation"),
        ({"finish": "abort"}, "a sample has finish = 'abort'"),
    ],
)
def test_a_line_that_is_no_sample_of_these_prompts_is_named(
    tmp_path: Path, change: dict[str, object], told: str
) -> None:
    folder = _begun(tmp_path)
    folder.add(_sample(0, 0))
    line = json.dumps(dataclasses.asdict(_sample(1, 0)) | change)
    with folder.samples_path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ConfigError, match=r"samples\.jsonl line 2: ") as error:
        _begun(tmp_path)
    assert told in str(error.value)


def test_two_evaluations_never_write_to_one_folder(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "e"),
        pytest.raises(ConfigError, match="another evaluation writes to"),
        locked(tmp_path / "e"),
    ):
        pass
    with locked(tmp_path / "e"):
        assert (tmp_path / "e").is_dir()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConfigError, match="name another folder by --out"),
        locked(tmp_path / "file" / "e"),
    ):
        pass


@pytest.mark.slow  # a process of its own
def test_the_lock_of_a_killed_evaluation_is_free(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal\n"
        "from copris_core.verl_adapter.eval_folder import locked\n"
        f"with locked(pathlib.Path({str(tmp_path)!r})):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=dict(os.environ), check=False)
    assert done.returncode == -9
    with locked(tmp_path):
        pass
