"""Starts the real stack as a user does, through the command line, and reads what it left behind."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MARK = "COPRIS_TEST_RUN"
"""Environment variable that every process of a run inherits; its value tells runs apart."""

TIMEOUT_S = 480
"""Outer limit of one run: a lost weight sync would wait for ever."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One run that has ended."""

    folder: Path
    """Its run folder."""
    code: int
    """Exit code of the command."""
    output: str
    """stdout and stderr together."""
    mark: str
    """Value of ``MARK`` in its environment."""

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl that belong to training steps."""
        return [row for row in read_jsonl(self.folder / "metrics.jsonl") if row["step"] > 0]

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def trajectories(self) -> list[dict[str, Any]]:
        """Rows of trajectories.jsonl."""
        return read_jsonl(self.folder / "trajectories.jsonl")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def train(folder: Path, *overrides: str, interrupt_after_step: int | None = None) -> Finished:
    """``copris train`` in a process group of its own, ended from outside when it takes too long."""
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "copris_core.cli", "train", *overrides, f"run.dir={folder}"]
    with (folder.parent / f"{folder.name}.log").open("w+") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )
        try:
            if interrupt_after_step is not None:
                _interrupt(process, folder / "metrics.jsonl", interrupt_after_step)
            process.wait(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass  # the exit code tells
        finally:
            leftovers_killed = _kill(process)
        log.seek(0)
        output = log.read()
    code = -9 if leftovers_killed else process.returncode
    return Finished(folder=folder, code=code, output=output, mark=mark)


def survivors(mark: str) -> list[str]:
    """Command lines of the processes that a run left running."""
    alive = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return alive


def _interrupt(process: subprocess.Popen[bytes], metrics: Path, step: int) -> None:
    """Ctrl-C: SIGINT to the whole process group, once ``step`` is done."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and any(row["step"] >= step for row in read_jsonl(metrics)):
            os.killpg(process.pid, signal.SIGINT)
            return
        time.sleep(0.2)


def _kill(process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        return False
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()
    return True
