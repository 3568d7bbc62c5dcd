"""A run joins a Ray cluster of two nodes, and leaves it as it was."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from copris_core.verl_adapter.processes import MARK as RUN_MARK
from copris_core.verl_adapter.processes import processes_of
from tests.e2e.runs import MARK, Finished, read_jsonl, survivors, train

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = (
    "experiment=copris",
    "actor_rollout_ref.rollout.n=4",
    "data.train_batch_size=4",
    "data.max_response_length=128",
    "strategy.concurrency=24",
    "trainer.val_before_train=false",
    "trainer.test_freq=-1",
)


class TwoNodes:
    """The cluster, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.mark = uuid.uuid4().hex
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.two_nodes", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                MARK: self.mark,
                "RAY_worker_niceness": "0",
                "RAY_memory_usage_threshold": "0.98",
            },
            start_new_session=True,
        )
        self.address = self._process.stdout.readline().strip()

    def living(self) -> dict[str, list[str]]:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def empty(self, within_s: float = 30.0) -> dict[str, list[str]]:
        """What lives there once nothing of a run does, or at the end of the time."""
        deadline_s = time.monotonic() + within_s
        while (found := self.living())["actors"] + found["groups"]:
            if time.monotonic() > deadline_s:
                break
            time.sleep(0.5)
        return found

    def end(self) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.stdout.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    folder = Path(tempfile.mkdtemp(prefix="nodes-"))  # short: it holds sockets
    nodes = TwoNodes(folder)
    yield nodes
    nodes.end()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def joined(cluster: TwoNodes, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("joined") / "run"
    where = (f"platform.ray_address={cluster.address}", "platform.nodes=2")
    return train(folder, *SMALL, *where, "trainer.total_training_steps=2")


def test_a_run_trains_on_both_nodes_of_the_cluster(joined: Finished) -> None:
    assert joined.code == 0, joined.output
    assert [row["step"] for row in joined.steps] == [1, 2]
    assert 0 < joined.summary["max_logprob_gap"] < 1e-4
    config = (joined.folder / "config.yaml").read_text()
    assert "nnodes: 2" in config


def test_the_cluster_outlives_the_run_and_holds_nothing_of_it(
    cluster: TwoNodes, joined: Finished
) -> None:
    found = cluster.empty()
    assert len(found["nodes"]) == 2
    assert (found["actors"], found["groups"]) == ([], [])
    assert survivors(joined.mark) == []
    assert _marks_below(cluster) == set()
    assert list(joined.folder.glob(".seen-*")) == []


def test_a_killed_driver_leaves_no_actor_and_no_process(cluster: TwoNodes, tmp_path) -> None:
    folder, mark = tmp_path / "run", uuid.uuid4().hex
    words = [*SMALL, f"platform.ray_address={cluster.address}", f"run.dir={folder}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "copris_core.cli", "train", *words],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: mark},
            start_new_session=True,
        )
    try:
        _wait(lambda: _steps(folder) >= 1 or process.poll() is not None, within_s=180)
        assert process.poll() is None, (tmp_path / "log").read_text()
        (run_mark,) = _marks_below(cluster)
        assert len(processes_of(run_mark)) > 5
    finally:
        process.kill()
        process.wait()
    _wait(lambda: (folder / "failure.json").exists(), within_s=60)
    assert processes_of(run_mark) == []
    found = cluster.empty()
    assert len(found["nodes"]) == 2
    assert (found["actors"], found["groups"]) == ([], [])


def _steps(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return len(read_jsonl(path)) if path.exists() else 0


def _marks_below(cluster: TwoNodes) -> set[str]:
    """Marks of runs among the processes that the cluster's raylets started."""
    marks: set[str] = set()
    for process in psutil.process_iter():
        try:
            variables: dict[str, Any] = process.environ()
        except psutil.Error:
            continue
        if variables.get(MARK) == cluster.mark and RUN_MARK in variables:
            marks.add(variables[RUN_MARK])
    return marks


def _wait(question: Any, *, within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
