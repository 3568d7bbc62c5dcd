"""Rows are held until their group is complete; none is lost, and none comes after its group."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.trainer.ppo.v1 import agent_loop_tq

from copris_core.rollout.order import ResponseKey
from copris_core.verl_adapter import agent_loop, group_rows
from copris_core.verl_adapter.agent_loop import GateWorkerLoop, LeanWorkerLoop
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.group_rows import MAX_PUTS, GroupRows
from tests.verl_adapter.gate_house import run
from tests.verl_adapter.local_queue import LocalQueue
from tests.verl_adapter.scripted import settled

pytestmark = pytest.mark.verl


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> LocalQueue:
    monkeypatch.setattr(group_rows, "RETRY_AFTER_S", 0.0)
    return LocalQueue(monkeypatch)


async def _hold(rows: GroupRows, *keys: str, tokens: int = 2, **more: Any) -> None:
    """Each is a response of its own, of ``tokens`` tokens."""
    for key in keys:
        row = {"responses": torch.arange(tokens), "uid": key.split("_")[0], **more}
        tag = {"status": "success", "response_len": tokens}
        await rows.async_kv_batch_put(keys=[key], fields=[row], tags=[tag], partition_id="train")


async def _end(rows: GroupRows, uid: str, status: str = "finished") -> None:
    await rows.async_kv_put(key=uid, partition_id="train", tag={"status": status})


@pytest.mark.parametrize("status", ["finished", "failure"])
def test_the_rows_of_a_group_are_one_put_and_its_status_follows_them(queue, status) -> None:
    async def story() -> None:
        rows = GroupRows()
        await _end(rows, "a", "running")
        await _hold(rows, "a_0_0", "a_1_0", "b_0_0")
        assert queue.puts == []
        await _end(rows, "a", status)
        assert queue.puts == [["a_0_0", "a_1_0"], ["a"]]
        assert queue.tags["train"]["a"] == {"status": status}
        assert queue.rows["train"]["a_1_0"]["responses"].tolist() == [0, 1]
        assert queue.tags["train"]["a_1_0"]["response_len"] == 2

    run(story)


def test_where_nobody_reads_statuses_none_is_put() -> None:
    async def story(queue: LocalQueue) -> None:
        rows = GroupRows(silent=("train",))
        await _hold(rows, "a_0_0")
        await _end(rows, "a")
        assert queue.puts == []
        await rows.store("train", "a")
        await rows.async_kv_put(key="v", partition_id="val", tag={"status": "finished"})
        assert queue.puts == [["a_0_0"], ["v"]]

    with pytest.MonkeyPatch.context() as patch:
        run(lambda: story(LocalQueue(patch)))


def test_what_is_due_while_a_put_is_under_way_goes_with_the_next(queue) -> None:
    async def story() -> None:
        rows = GroupRows()
        await _hold(rows, "a_0_0", "b_0_0", "b_1_0", "c_0_0")
        queue.lets_through.clear()
        ends = [asyncio.create_task(_end(rows, uid)) for uid in "abc"]
        await settled()
        queue.lets_through.set()
        await asyncio.gather(*ends)
        assert queue.puts == [["a_0_0"], ["a"], ["b_0_0", "b_1_0", "c_0_0"], ["b", "c"]]

    run(story)


def test_a_flush_waits_for_the_put_under_way_and_leaves_nothing_out(queue) -> None:
    async def story() -> None:
        rows = GroupRows(silent=("train",))
        await _hold(rows, "a_0_0", "b_0_0")
        queue.lets_through.clear()
        storing = asyncio.create_task(rows.store("train", "a"))
        await settled()
        flushing = asyncio.create_task(rows.flush())
        await settled()
        assert not flushing.done()
        queue.lets_through.set()
        await flushing
        assert set(queue.rows["train"]) == {"a_0_0", "b_0_0"}
        await storing
        await _hold(rows, "b_1_0")  # the group goes on, and only the rest is put
        await rows.store("train", "b")
        assert queue.puts[-1] == ["b_1_0"]

    run(story)


def test_none_of_a_discarded_groups_rows_comes_afterwards(queue) -> None:
    async def story() -> None:
        rows = GroupRows(silent=("train",))
        await _hold(rows, "a_0_0", "b_0_0")
        queue.lets_through.clear()
        flushing = asyncio.create_task(rows.flush())
        await settled()
        await _hold(rows, "a_1_0", "b_1_0")
        discarding = asyncio.create_task(rows.discard("train", "a"))
        await settled()
        assert not discarding.done()  # a's first row is under way
        queue.lets_through.set()
        await asyncio.gather(flushing, discarding)
        await rows.flush()
        assert queue.puts == [["a_0_0", "b_0_0"], ["b_1_0"]]

    run(story)


def test_a_put_that_fails_is_tried_again_and_loses_nothing(queue) -> None:
    async def story() -> None:
        rows = GroupRows()
        await _hold(rows, "a_0_0")
        queue.errors = [TimeoutError("no answer")] * (MAX_PUTS - 1)
        await _end(rows, "a")
        assert queue.puts == [["a_0_0"], ["a"]]

    run(story)


def test_a_queue_that_goes_on_failing_is_told_and_the_rows_stay_due(queue) -> None:
    async def story() -> None:
        rows = GroupRows(silent=("train",))
        await _hold(rows, "a_0_0", "b_0_0")
        queue.errors = [TimeoutError("no answer")] * (2 * MAX_PUTS)
        for uid in "ab":
            with pytest.raises(TimeoutError):
                await rows.store("train", uid)
        await rows.discard("train", "b")
        await rows.flush()
        assert queue.puts == [["a_0_0"]]

    run(story)


def test_rows_that_cannot_be_laid_into_one_tensor_go_by_themselves(queue) -> None:
    async def story() -> None:
        rows = GroupRows()
        await _hold(rows, "a_0_0", "a_1_0", tokens=3)
        await _hold(rows, "a_2_0", tokens=5)
        await _hold(rows, "a_3_0", routed_experts=torch.zeros(2, 4))
        for key, tokens in {"a_4_0": 4, "a_5_0": 6}.items():
            await _hold(rows, key, position_ids=torch.zeros(3, tokens))
        await _end(rows, "a")
        assert queue.puts == [["a_0_0", "a_1_0", "a_2_0"], ["a_3_0"], ["a_4_0"], ["a_5_0"], ["a"]]
        assert queue.rows["train"]["a_5_0"]["position_ids"].shape == (3, 6)

    run(story)


def test_a_row_that_is_held_takes_the_trainers_log_probs(queue) -> None:
    async def story() -> None:
        rows = GroupRows(silent=("train",))
        for key in ("a_0_0", "b_0_0"):
            row = {
                "response_mask": torch.tensor([1, 1, 0, 1, 1]),
                VERSION_FIELD: torch.tensor([0, 1, 1, 1, 2]),
                "rollout_log_probs": torch.full((5,), -9.0),
            }
            await _hold(rows, key, tokens=5, **row)
        rows.rescore(1, {ResponseKey("a", 0): [-0.1, -0.2, -0.3]})  # the third was cut off
        await rows.flush()
        stored = {
            key: row["rollout_log_probs"].tolist() for key, row in queue.rows["train"].items()
        }
        assert stored["a_0_0"] == pytest.approx([-9.0, -0.1, -9.0, -0.2, -9.0])
        assert stored["b_0_0"] == [-9.0] * 5

    run(story)


# ---- with verl's own worker ----

PROMPT = {"uid": "a", "global_steps": 4, "raw_prompt": [{"role": "user", "content": "2 + 2?"}]}


class _Worker(LeanWorkerLoop):
    """verl's way of storing a group of three; sampling takes no time, and some members fail."""

    def __init__(self, *, failing: tuple[int, ...] = ()) -> None:
        self.processor = None
        self._failing = failing
        rollout = SimpleNamespace(n=3)
        self.config = SimpleNamespace(actor_rollout_ref=SimpleNamespace(rollout=rollout))

    async def _run_agent_loop(
        self, sampling_params: dict[str, Any], trajectory: dict[str, Any], **kwargs: Any
    ) -> None:
        if kwargs["session_id"] in self._failing:
            raise RuntimeError("out of memory")
        tokens = 2 + kwargs["session_id"]
        output = AgentLoopOutput(
            prompt_ids=[7, 8],
            response_ids=list(range(tokens)),
            response_mask=[1] * tokens,
            response_logprobs=[-0.5] * tokens,
            num_turns=2,
            metrics={},
            extra_fields={"max_global_steps": 3},
        )
        await self._agent_loop_postprocess(output, trajectory["validate"], **kwargs)

    async def _compute_score(self, outputs: list[Any], kwargs: dict[str, Any]) -> None:
        outputs[-1].reward_score = 0.5

    async def _compute_teacher_logprobs(self, *_: Any, **__: Any) -> None:
        """There is no teacher."""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl's module, as it was again at the end."""
    for name in ("tq", "list_of_dict_to_tensordict"):
        monkeypatch.setattr(agent_loop_tq, name, getattr(agent_loop_tq, name))


def _stored(queue: LocalQueue, worker: _Worker) -> dict[str, dict[str, Any]]:
    """Rows in the queue once the worker has run the prompt; tensors as lists."""
    run(lambda: worker._run_prompt(dict(PROMPT), {}, {"validate": False}))
    rows = {key: row for key, row in queue.rows["train"].items() if key != "a"}
    return {
        key: {name: (str(value), getattr(value, "dtype", None)) for name, value in row.items()}
        for key, row in rows.items()
    }


@pytest.mark.parametrize("failing", [(), (1,)])
def test_what_verls_worker_stores_is_what_it_stored_by_itself(module, monkeypatch, failing) -> None:
    alone = LocalQueue(monkeypatch)
    expected = _stored(alone, _Worker(failing=failing))
    grouped = LocalQueue(monkeypatch)
    GroupRows().bind()
    found = _stored(grouped, _Worker(failing=failing))
    keys = [f"a_{i}_0" for i in range(3) if i not in failing]
    assert (len(alone.puts), grouped.puts) == (1 + len(keys) + 1, [keys, ["a"]])
    assert list(found) == keys
    assert found == expected
    assert grouped.tags == alone.tags
    assert grouped.tags["train"]["a"]["status"] == ("failure" if failing else "finished")


@pytest.mark.parametrize(("worker", "silent"), [(LeanWorkerLoop, ()), (GateWorkerLoop, ("train",))])
def test_a_worker_takes_verls_puts_over_when_it_is_built(
    module, monkeypatch, worker, silent
) -> None:
    def build(self) -> None:
        """What verl's constructor leaves for ours."""
        shaping = {"name": "none"}
        rollout = {"response_length": 9}
        self.config = OmegaConf.create(
            {"reward_shaping": shaping, "actor_rollout_ref": {"rollout": rollout}}
        )
        self.tokenizer = SimpleNamespace(eos_token_id=0)

    monkeypatch.setattr(agent_loop._StockWorker, "__init__", build)
    built = worker()
    assert agent_loop_tq.tq is built._rows
    assert built._rows._silent == silent
