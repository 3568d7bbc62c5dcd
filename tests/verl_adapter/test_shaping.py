"""The reward that is trained on: the verifier's score, shaped; validation is told the score."""

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from copris_core.rollout.order import ResponseKey
from copris_core.tasks import get_task
from copris_core.verl_adapter import agent_loop
from copris_core.verl_adapter.agent_loop import (
    OUR_REWARD,
    TRAINING_BUDGET,
    GateWorkerLoop,
    LeanWorkerLoop,
    _Progress,
)
from copris_core.verl_adapter.fields import VERSION_FIELD
from copris_core.verl_adapter.prolonged_config import ShapingChoice
from copris_core.verl_adapter.shaping import (
    Shaping,
    score_of,
    scores_of_rows,
    shaping_metrics,
    shaping_of,
)
from tests.verl_adapter.local_queue import LocalQueue

pytestmark = pytest.mark.verl

END = 2
RIGHT = {"score": 1.0, "acc": 1.0}


def _shaping(**choice: float) -> Shaping:
    return Shaping(choice=ShapingChoice(**choice), end_tokens=frozenset([END]))


# ---- the rules ----


def test_without_rules_the_reward_is_the_score() -> None:
    plain = Shaping(choice=None, end_tokens=frozenset())
    assert plain.reward({"score": 0.5, "acc": 0.0}, [1] * 10, 10) == (
        0.5,
        {"score": 0.5, "acc": 0.0},
    )


def test_validation_is_never_shaped() -> None:
    shaping = _shaping(overlong_share=0.5, truncated_factor=0.0, cosine_weight=1.0)
    assert shaping.reward(RIGHT, [1] * 10, None) == (1.0, RIGHT)


def test_a_response_that_ends_itself_at_the_budget_was_not_cut_off() -> None:
    shaping = _shaping(truncated_factor=0.25)
    judged = {
        "cut off": shaping.reward(RIGHT, [1] * 10, 10),
        "ended": shaping.reward(RIGHT, [1] * 9 + [END], 10),
        "stopped before": shaping.reward(RIGHT, [1] * 9, 10),
    }
    assert {name: reward for name, (reward, _) in judged.items()} == {
        "cut off": 0.25,
        "ended": 1.0,
        "stopped before": 1.0,
    }
    assert [told["truncated"] for _, told in judged.values()] == [1.0, 0.0, 0.0]


def test_penalty_and_bonus_add_up_and_what_is_told_says_how_much() -> None:
    # 8 of 10 tokens, the penalty grows over the last 5: 3/5 of 2; the cosine is at .8 pi.
    shaping = _shaping(overlong_share=0.5, overlong_penalty=2.0, cosine_weight=0.25)
    bonus = 0.25 * (1 + math.cos(0.8 * math.pi)) / 2
    reward, told = shaping.reward(RIGHT, [1] * 7 + [END], 10)
    assert reward == pytest.approx(1.0 + bonus - 1.2)
    assert told == {**RIGHT, "length_penalty": pytest.approx(1.2 - bonus), "truncated": 0.0}
    assert RIGHT == {"score": 1.0, "acc": 1.0}  # the verifier's word is not changed


def test_the_budget_of_the_step_decides_what_is_long() -> None:
    shaping = _shaping(overlong_share=0.2)
    rewards = [shaping.reward(RIGHT, [1] * 9 + [END], budget)[0] for budget in (10, 20)]
    assert rewards == [0.0, 1.0]


def test_the_rules_come_from_the_config() -> None:
    rules = {"name": "dapo", "overlong_share": 0.5, "overlong_penalty": None}
    shaping = shaping_of(OmegaConf.create({"reward_shaping": rules}), [END, 9])
    assert shaping == Shaping(
        choice=ShapingChoice(overlong_share=0.5), end_tokens=frozenset({END, 9})
    )
    none = OmegaConf.create({"reward_shaping": {"name": "none"}})
    assert shaping_of(none, []).choice is None


# ---- from the queue ----


def _told(**info: float) -> dict[str, Any]:
    return {"reward_extra_info": info}


def test_the_means_of_a_batch_are_told() -> None:
    rows = [
        _told(score=1.0, acc=1.0, length_penalty=0.5, truncated=0.0),
        SimpleNamespace(data=_told(score=0.0, acc=0.0, length_penalty=1.0, truncated=1.0)),
    ]
    assert shaping_metrics(rows) == {
        "reward/score_mean": 0.5,
        "reward/length_penalty": 0.75,
        "reward/truncated_fraction": 0.5,
    }


def test_a_row_that_was_rewarded_by_its_own_agent_loop_has_no_part_in_the_means() -> None:
    shaped = _told(score=1.0, length_penalty=0.25, truncated=0.0)
    assert shaping_metrics([{}, _told(acc=1.0), shaped])["reward/length_penalty"] == 0.25
    assert shaping_metrics([{}, _told(score=1.0)]) == {}


def test_groups_are_judged_by_the_score_not_by_the_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = LocalQueue(monkeypatch)
    for key, score in (("a_0_0", 1.0), ("a_1_0", 0.25)):
        queue.add(key, rm_scores=[0.0, -7.0])
        queue.rows["train"][key]["extra_fields"] = _told(score=score)
    assert scores_of_rows("train", ["a_0_0", "a_1_0"]) == [1.0, 0.25]
    assert scores_of_rows("train", []) == []


def test_a_reward_without_a_score_is_its_own_score(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = LocalQueue(monkeypatch)
    for key, told in (("a_0_0", _told(acc=0.5)), ("a_1_0", {}), ("a_2_0", _told(score=0.25))):
        queue.add(key, rm_scores=[0.0, 0.75])
        queue.rows["train"][key]["extra_fields"] = told
    assert scores_of_rows("train", ["a_0_0", "a_1_0", "a_2_0"]) == [0.75, 0.75, 0.25]


@pytest.mark.parametrize(
    ("extra_fields", "score"),
    [(_told(score=0.25), 0.25), (_told(acc=1.0), -0.5), ({}, -0.5)],
)
def test_of_a_response_in_several_rows_the_last_has_the_score(extra_fields, score) -> None:
    last = SimpleNamespace(extra_fields=extra_fields, reward_score=-0.5)
    first = SimpleNamespace(extra_fields=_told(score=9.0), reward_score=9.0)
    assert score_of(last) == score_of([first, last]) == score


# ---- the workers ----


def _worker(kind: type, text: str, path: str = OUR_REWARD) -> Any:
    """One without verl's own construction, whose tokens all read ``text``."""
    made = object.__new__(kind)
    reward = {"custom_reward_function": {"path": path}, "reward_manager": {"name": "naive"}}
    made.config = OmegaConf.create({"reward": reward})
    made.tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: text)
    made._shaping = _shaping(truncated_factor=0.0)
    return made


def _response() -> Any:
    return SimpleNamespace(
        response_ids=[1] * 10, response_mask=[1] * 10, reward_score=None, extra_fields={}
    )


def _row() -> tuple[str, dict[str, Any]]:
    """A right answer, and the row's fields that the verifier is given."""
    row = get_task("days", rows=1).train_rows()[0]
    truth = {"data_source": row.data_source, "reward_model": {"ground_truth": row.ground_truth}}
    return f"#### {row.ground_truth}", truth


def _scored(worker: Any, budget: int | None, row: dict[str, Any]) -> Any:
    async def story() -> Any:
        TRAINING_BUDGET.set(budget)
        await worker._compute_score([output := _response()], row)
        return output

    return asyncio.run(story())


@pytest.mark.parametrize("kind", [LeanWorkerLoop, GateWorkerLoop])
def test_a_worker_shapes_training_rows_and_no_others(kind: type) -> None:
    text, row = _row()
    worker = _worker(kind, text)
    trained, validated = _scored(worker, 10, row), _scored(worker, None, row)
    assert trained.reward_score == 0.0
    told = {**RIGHT, "length_penalty": 1.0, "truncated": 1.0}
    assert trained.extra_fields == {"reward_extra_info": told}
    assert validated.reward_score == 1.0
    assert validated.extra_fields == {"reward_extra_info": RIGHT}


def test_the_reward_of_somebody_else_is_left_to_verl(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stock(self: Any, outputs: list[Any], kwargs: dict[str, Any]) -> None:
        outputs[-1].reward_score = -3.0

    monkeypatch.setattr(agent_loop._StockWorker, "_compute_score", stock)
    text, row = _row()
    assert _scored(_worker(LeanWorkerLoop, text, "pkg://mine"), 10, row).reward_score == -3.0


def test_the_gate_is_told_scores_that_nothing_has_shaped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stock(self: Any, output: Any, validate: bool, **kwargs: Any) -> None:
        await self._compute_score([output], kwargs)

    monkeypatch.setattr(agent_loop._StockWorker, "_agent_loop_postprocess", stock)
    text, row = _row()
    worker = _worker(GateWorkerLoop, text)
    worker._groups = {"a": _Progress()}
    worker.llm_client = SimpleNamespace(
        versions=lambda key: [3] * 10, logps=lambda key: [-1.0] * 10
    )
    seen: list[Any] = []
    worker._compute_score = _noting(worker._compute_score, seen)

    async def story() -> None:
        TRAINING_BUDGET.set(10)
        key = ResponseKey("a", 1)
        await worker._agent_loop_postprocess(
            _response(), False, uid=key.uid, session_id=key.index, **row
        )

    asyncio.run(story())
    assert worker._groups["a"].scores == {1: 1.0}
    assert worker._groups["a"].stored == {1: 10}
    ((output, fields),) = seen
    assert output.reward_score == 0.0
    assert torch.equal(fields[VERSION_FIELD], torch.full((10,), 3))


def _noting(compute: Any, seen: list[Any]) -> Any:
    async def noted(outputs: list[Any], kwargs: dict[str, Any]) -> None:
        await compute(outputs, kwargs)
        seen.append((outputs[-1], kwargs))

    return noted
