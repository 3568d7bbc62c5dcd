"""What the correction stores beside a batch, and when it ends a run."""

import math

import pytest
from omegaconf import DictConfig, OmegaConf

from copris_core.verl_adapter.correction import BatchCorrection
from copris_core.verl_adapter.errors import TrainingError
from tests.verl_adapter.local_queue import LocalQueue, ToldWorkers

pytestmark = pytest.mark.verl

LOG2 = math.log(2)


def _config(**choice: object) -> DictConfig:
    rollout = {"temperature": 0.7}
    return OmegaConf.create({"correction": choice, "actor_rollout_ref": {"rollout": rollout}})


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> LocalQueue:
    """Ratios old / engine of 4, 1/2, tool, 1/2 and of 2, 1; the last row is verl's padding."""
    queue = LocalQueue(monkeypatch)
    queue.add(
        "a",
        input_ids=[5, 1, 2, 0, 3],
        responses=[1, 2, 0, 3],
        response_mask=[1, 1, 0, 1],
        loss_mask=[1, 1, 0, 1],
        rollout_log_probs=[-2.0, -2.0, 0.0, -2.0],
        old_log_probs=[-2.0 + 2 * LOG2, -2.0 - LOG2, -7.0, -2.0 - LOG2],
        stage_log_probs=[-1.0, -2.0, 0.0, -1.0],
    )
    queue.add(
        "b",
        input_ids=[5, 1, 2],
        responses=[1, 2],
        response_mask=[1, 1],
        loss_mask=[1, 1],
        rollout_log_probs=[-2.0, -2.0],
        old_log_probs=[-2.0 + LOG2, -2.0],
        stage_log_probs=[-1.0, -2.0],
    )
    queue.add(
        "pad",
        input_ids=[0, 0],
        responses=[0],
        response_mask=[0],
        loss_mask=[0],
        rollout_log_probs=[0.0],
        old_log_probs=[-3.0],
        stage_log_probs=[-1.0, -2.0, 0.0, -1.0],  # of the row that it was copied from
    )
    return queue


def _field(queue: LocalQueue, name: str) -> list[list[float]]:
    return [queue.rows["train"][key][name].tolist() for key in ("a", "b", "pad")]


def _batch(queue: LocalQueue):
    batch = queue.batch("a", "b", "pad")
    batch.extra_info["temperature"] = 0.7
    return batch


@pytest.mark.parametrize("name", ["none", "cross_stage", "decoupled"])
def test_old_log_probs_are_verls_except_with_stage(queue, name):
    weights = {"level": "token", "threshold": 2.0} if name == "decoupled" else {}
    before = _field(queue, "old_log_probs")
    correction = BatchCorrection(_config(name=name, **weights))
    batch = _batch(queue)
    assert correction.set_old_log_probs(batch) is batch
    assert _field(queue, "old_log_probs") == before


def test_with_stage_they_are_each_stages_cut_to_the_response(queue):
    batch = BatchCorrection(_config(name="stage")).set_old_log_probs(_batch(queue))
    assert _field(queue, "old_log_probs") == [[-1.0, -2.0, 0.0, -1.0], [-1.0, -2.0], [-1.0]]
    assert "old_log_probs" in batch.fields
    assert batch.extra_info["temperature"] == 0.7


@pytest.mark.parametrize("name", ["none", "cross_stage", "stage"])
def test_without_weights_and_rejection_nothing_is_read_or_stored(queue, name):
    batch, workers = _batch(queue), ToldWorkers(queue)
    assert BatchCorrection(_config(name=name)).apply(batch, workers) == (batch, {})
    assert workers.forwarded == []


def test_decoupled_token_weights_are_truncated_and_told(queue):
    workers = ToldWorkers(queue)
    correction = BatchCorrection(_config(name="decoupled", level="token", threshold=3.0))
    batch, metrics = correction.apply(_batch(queue), workers)
    weights = _field(queue, "rollout_is_weights")
    assert weights[0] == pytest.approx([3, 0.5, 0, 0.5], abs=1e-5)
    assert weights[1:] == [pytest.approx([2, 1]), [0]]
    assert "rollout_is_weights" in batch.fields  # else the update would not fetch it
    assert workers.forwarded == []
    assert _field(queue, "response_mask") == [[1, 1, 0, 1], [1, 1], [0]]
    # Cut weights 3 .5 .5 2 1: mean 7/5, ess 49 / (5 * 14.5); raw maximum 4.
    assert metrics == pytest.approx(
        {
            "correction/weight_mean": 1.4,
            "correction/weight_max": 4,
            "correction/truncated_fraction": 0.2,
            "correction/ess_fraction": 49 / 72.5,
        },
        rel=1e-4,
    )


def test_decoupled_sequence_weights_are_products(queue):
    correction = BatchCorrection(_config(name="decoupled", level="sequence", threshold=1.5))
    correction.apply(_batch(queue), ToldWorkers(queue))
    weights = _field(queue, "rollout_is_weights")
    assert weights[0] == pytest.approx([1, 1, 0, 1], abs=1e-5)
    assert weights[1] == pytest.approx([1.5, 1.5])


def test_rejected_tokens_leave_loss_and_denominator_and_are_remembered(queue):
    correction = BatchCorrection(_config(name="none", reject="token", reject_above=1.0))
    batch, metrics = correction.apply(_batch(queue), ToldWorkers(queue))
    kept = [[0, 1, 0, 1], [1, 1], [0]]
    assert _field(queue, "response_mask") == kept
    assert _field(queue, "loss_mask") == kept
    assert _field(queue, "sampled_mask") == [[1, 1, 0, 1], [1, 1], [0]]
    assert metrics == {"correction/rejected_fraction": 0.2}
    assert {"response_mask", "loss_mask", "sampled_mask"} <= set(batch.fields)


def test_weights_are_of_all_that_was_sampled_also_where_some_is_rejected(queue):
    correction = BatchCorrection(
        _config(name="decoupled", level="sequence", threshold=9.0, reject="token", reject_above=1.0)
    )
    _, metrics = correction.apply(_batch(queue), ToldWorkers(queue))
    assert _field(queue, "rollout_is_weights")[0] == pytest.approx([1, 1, 0, 1], abs=1e-5)
    assert metrics["correction/rejected_fraction"] == 0.2


def test_rejection_without_recomputed_log_probs_takes_one_forward_pass(queue):
    # The workers' log-probs are minus the token ids: -1, -2, tool, -3 and -1, -2.
    # Engine: d = 1, 0, tool, -1 and 1, 0. Bound 0.5.
    workers = ToldWorkers(queue)
    correction = BatchCorrection(_config(name="cross_stage", reject="token", reject_above=0.5))
    correction.apply(_batch(queue), workers)
    assert len(workers.forwarded) == 1
    assert _field(queue, "response_mask") == [[0, 1, 0, 0], [0, 1], [0]]


def test_with_stage_far_off_means_far_from_the_stages_own_log_probs(queue):
    # Stage: d = 0, 0, tool, -2 and 0, 0.
    correction = BatchCorrection(_config(name="stage", reject="sequence", reject_above=0.6))
    correction.apply(_batch(queue), ToldWorkers(queue))
    assert _field(queue, "response_mask") == [[0, 0, 0, 0], [1, 1], [0]]  # means -2/3 and 0


def test_a_step_that_would_train_nothing_ends_the_run_and_stores_nothing(queue):
    correction = BatchCorrection(_config(name="none", reject="sequence", reject_above=1e-9))
    queue.rows["train"]["a"]["old_log_probs"] += 5
    with pytest.raises(TrainingError, match="reject_above=1e-09 rejected every token of a step"):
        correction.apply(_batch(queue), ToldWorkers(queue))
    assert _field(queue, "response_mask") == [[1, 1, 0, 1], [1, 1], [0]]


def _gap(*, abs_sum: float, tokens: float) -> dict[str, float]:
    return {"actor/logprob_gap/abs_sum": abs_sum, "actor/logprob_gap/tokens": tokens}


def test_a_gap_above_the_bound_ends_the_run():
    correction = BatchCorrection(_config(name="cross_stage"))
    with pytest.raises(
        TrainingError, match=r"is 0\.06 over 500 tokens .*max_logprob_gap=0\.05"
    ) as end:
        correction.refuse_gap(_gap(abs_sum=15, tokens=250), num_ranks=2)  # 15 / 250
    assert "\n" not in str(end.value)


@pytest.mark.parametrize(
    ("metrics", "limit"),
    [({}, 0.05), (_gap(abs_sum=0, tokens=0), 0.05), (_gap(abs_sum=10, tokens=250), 0.05),
     (_gap(abs_sum=90, tokens=3), 0.05), (_gap(abs_sum=9e9, tokens=250), None)],
)  # fmt: skip
def test_a_gap_that_is_small_unmeasured_or_unbounded_does_not(metrics, limit):
    correction = BatchCorrection(_config(name="none", max_logprob_gap=limit))
    assert correction.refuse_gap(metrics, num_ranks=2) is None  # and nothing was raised
