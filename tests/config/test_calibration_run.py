"""The runs that measure an engine: each one is a training that would start."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.verl


def test_every_run_is_a_training_that_would_start(
    entered: Callable[..., Any], tmp_path: Path
) -> None:
    from copris_core.verl_adapter.calibration_run import CONCURRENCIES, train_words
    from copris_core.verl_adapter.check import check

    for concurrency in CONCURRENCIES:
        command, *words = train_words(concurrency, tmp_path / "run")
        cfg, run = entered(*words)
        check(run, cfg)
        assert command == "train"
        assert run.strategy.concurrency == concurrency
        assert cfg.run.engine_log
        assert cfg.run.dir == str(tmp_path / "run")


def test_a_finished_run_is_not_done_again_and_a_dead_one_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from copris_core.verl_adapter import calibration_run
    from copris_core.verl_adapter.errors import TrainingError

    started: list[list[str]] = []

    def start(words: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(words)
        return subprocess.CompletedProcess(words, returncode=len(started) - 1)

    monkeypatch.setattr(calibration_run.subprocess, "run", start)
    (tmp_path / "n8").mkdir()
    (tmp_path / "n8" / "summary.json").write_text("{}")
    said: list[str] = []

    with pytest.raises(TrainingError, match=r"exit code 1: see .*n64\.calibration\.log"):
        calibration_run.calibration_runs(
            tmp_path, overrides=["seed=3"], concurrencies=(8, 32, 64, 128), say=said.append
        )

    assert [words[-1] for words in started] == ["seed=3", "seed=3"]
    assert "strategy.concurrency=32" in started[0]
    assert said[0].endswith("N'=8 is there already")
