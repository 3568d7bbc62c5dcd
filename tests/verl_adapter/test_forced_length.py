"""A response ends where its row says, in verl's own loop and in our worker."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from verl.experimental.agent_loop import agent_loop as verls
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.utils.import_utils import load_class_from_fqn

from copris_core.verl_adapter import launch
from copris_core.verl_adapter.agent_loop import LeanWorkerLoop
from copris_core.verl_adapter.forced_length import ForcedLengthLoop

pytestmark = pytest.mark.verl

ROW = {"extra_info": {"response_lengths": "12 7 300"}}


@pytest.mark.parametrize(("member", "length"), [(0, 12), (1, 7), (2, 300), (3, 12)])
def test_each_member_of_a_group_gets_exactly_its_length(monkeypatch, member, length) -> None:
    seen = []

    async def stock(self: Any, sampling_params: dict[str, Any], **kwargs: Any) -> str:
        seen.append((sampling_params, kwargs))
        return "done"

    monkeypatch.setattr(SingleTurnAgentLoop, "run", stock)
    loop, given = object.__new__(ForcedLengthLoop), {"temperature": 0.7, "max_tokens": 9}

    assert asyncio.run(loop.run(given, session_id=member, **ROW)) == "done"

    forced = {"temperature": 0.7, "max_tokens": length, "ignore_eos": True}
    assert seen == [(forced, {"session_id": member, **ROW})]
    assert given == {"temperature": 0.7, "max_tokens": 9}


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The loops of the file that a run writes, as verl's worker reads them (agent_loop.py:537)."""
    monkeypatch.setattr(verls, "_agent_loop_registry", dict(verls._agent_loop_registry))
    launch._write_agent_loops(tmp_path)
    return {each.name: each for each in OmegaConf.load(tmp_path / launch.AGENT_LOOPS_FILE)}


def test_a_runs_file_names_it_and_what_is_named_is_there(registered) -> None:
    target = registered["forced_length"]["_target_"]
    assert load_class_from_fqn(target, "agent loop") is ForcedLengthLoop
    assert set(registered) == set(launch.AGENT_LOOPS)


def test_our_worker_builds_it_without_hydra(registered, monkeypatch) -> None:
    monkeypatch.setattr("copris_core.verl_adapter.agent_loop._agent_loop_registry", registered)
    worker, told = object.__new__(LeanWorkerLoop), []

    class Loop:
        async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> str:
            return f"{sampling_params['max_tokens']} for {kwargs['session_id']}"

    async def postprocess(output: str, validate: bool, **_: Any) -> str:
        return output

    worker.config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"name": "vllm"}}})
    worker._budget = 512  # of the run; the forced length is not bound by it
    worker._build = lambda target: (told.append(target), Loop())[1]
    worker._agent_loop_postprocess = postprocess
    row = {"agent_name": "forced_length", "session_id": 4}

    output = asyncio.run(worker._run_agent_loop({"max_tokens": 9}, {"validate": False}, **row))

    assert output == "9 for 4"
    assert told == [launch.AGENT_LOOPS["forced_length"]]


@pytest.mark.parametrize(
    ("loop", "expected"), [("forced_length", True), ("single_turn_agent", False)]
)
def test_verl_is_shown_the_file_only_where_a_loop_of_ours_runs(tmp_path, loop, expected) -> None:
    from copris_core.verl_adapter.door import enter

    task = "forced" if expected else "days"
    cfg, run = enter([f"task={task}"])
    agent = launch._complete(cfg, run, tmp_path).actor_rollout_ref.rollout.agent
    assert agent.default_agent_loop == loop
    path = str(tmp_path / launch.AGENT_LOOPS_FILE) if expected else None
    assert agent.agent_loop_config_path == path
