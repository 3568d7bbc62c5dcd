"""The event log says everything that happens, and the same seed writes the same bytes."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from copris_core.simulator.engine import EngineModel
from copris_core.simulator.events import EventLog
from copris_core.simulator.lengths import LognormalLengths
from copris_core.simulator.simulation import Workload
from copris_core.simulator.strategies import Strategy, simulation_of

ROOT = Path(__file__).resolve().parents[2]
ENGINE = EngineModel(
    step_s=0.01,
    response_s=0.0005,
    prefill_token_s=0.0001,
    stop_s=0.25,
    kv_tokens=700,
    max_running=64,
    replicas=3,
)
WORKLOAD = Workload(
    lengths=LognormalLengths(median=30, sigma=1.0, cap=400),
    groups_per_stage=3,
    group_size=4,
    prompt_tokens=10,
    update_s=1.0,
)
NAMES = ("sync", "naive_partial", "oversample", "copris", "copris_adaptive")


def _log(name: str = "copris", *, seed: int = 0, num_stages: int = 8) -> str:
    stream = io.StringIO()
    strategy = Strategy(name=name, concurrency=30, staleness_cap=3.0)
    simulation_of(
        strategy, engine=ENGINE, workload=WORKLOAD, seed=seed, events=EventLog(stream)
    ).run(num_stages)
    return stream.getvalue()


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(name: str) -> None:
    assert _log(name) == _log(name)
    assert _log(name) != _log(name, seed=1)


@pytest.mark.slow  # a process
def test_another_process_with_other_hashes_writes_the_same_bytes() -> None:
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('log', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"sys.stdout.write(''.join(module._log(name) for name in {NAMES!r}))\n"
    )
    outputs = []
    for seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1] == "".join(map(_log, NAMES)).encode()


def test_a_log_changes_nothing_of_what_it_tells() -> None:
    strategy = Strategy(name="copris", concurrency=30)
    kinds: dict[str, Any] = {"engine": ENGINE, "workload": WORKLOAD, "seed": 5}
    silent = simulation_of(strategy, **kinds).run(8)
    told = simulation_of(strategy, **kinds, events=EventLog(io.StringIO())).run(8)
    assert silent == told


@pytest.mark.parametrize("name", NAMES)
def test_whoever_is_admitted_leaves_once_and_with_its_tokens(name: str) -> None:
    lengths, inside, most = {}, dict[tuple[str, int], int](), 0
    for line in _lines(_log(name)):
        if line["event"] == "drawn":
            lengths[line["uid"]] = line["lengths"]
        if line["event"] == "admitted":
            key = line["uid"], line["index"]
            assert key not in inside
            inside[key] = line["tokens"]
            most = max(most, len(inside))
        if line["event"] in ("finished", "interrupted"):
            had = inside.pop((line["uid"], line["index"]))
            assert line["tokens"] >= had
            length = lengths[line["uid"]][line["index"]]
            assert (line["tokens"] == length) == (line["event"] == "finished")
    assert not inside
    assert most <= (36 if name == "copris_adaptive" else 30)  # 3.0 x 12; given


def test_stages_follow_each_other_and_the_clock_only_goes_forward() -> None:
    lines = _lines(_log())
    assert [line["at_s"] for line in lines] == sorted(line["at_s"] for line in lines)
    frame = [line for line in lines if line["event"] in ("opened", "over", "updated")]
    assert [line["event"] for line in frame] == ["opened", "over", "updated"] * 8
    assert [line["version"] for line in frame[0::3]] == list(range(8))
    assert [line["version"] for line in frame[2::3]] == list(range(1, 9))
    # nobody is admitted, and nobody finishes, between the end of a stage and the next
    outside = {"over": False, "updated": False, "opened": True}
    is_open = False
    for line in lines:
        is_open = outside.get(line["event"], is_open)
        assert is_open or line["event"] in ("over", "updated", "interrupted")


def test_the_log_counts_what_the_results_count() -> None:
    stream = io.StringIO()
    workload = dataclasses.replace(WORKLOAD, prompt_tokens=40)
    strategy = Strategy(name="copris", concurrency=30)
    results = simulation_of(
        strategy, engine=ENGINE, workload=workload, seed=2, events=EventLog(stream)
    ).run(10)
    lines = _lines(stream.getvalue())
    counts = Counter(line["event"] for line in lines)
    assert counts["finished"] == sum(each.finished for each in results)
    assert counts["interrupted"] == sum(each.interrupted for each in results)
    assert counts["preempted"] == sum(each.preemptions for each in results) > 0
    resumed = sum(line["tokens"] for line in lines if line["event"] == "admitted")
    assert resumed == sum(each.prefilled_again for each in results)
    updates = [line["tokens"] for line in lines if line["event"] == "updated"]
    assert updates == [each.trained_tokens for each in results]
