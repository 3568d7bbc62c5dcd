"""Every token is scored once, by the weights that sampled it, and no prefix twice in a stage."""

import random

import pytest
import torch
from omegaconf import OmegaConf

from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse
from copris_core.rollout.trajectory import Segment, Trajectory
from copris_core.verl_adapter.stage_logprobs import StageScorer, rows_of
from tests.verl_adapter.local_queue import LocalQueue, ToldWorkers

pytestmark = pytest.mark.verl


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> LocalQueue:
    return LocalQueue(monkeypatch)


def _scorer(*, micro_batch: int = 1) -> StageScorer:
    rollout = {"temperature": 0.7, "log_prob_micro_batch_size_per_gpu": micro_batch}
    return StageScorer(
        OmegaConf.create(
            {"actor_rollout_ref": {"rollout": rollout, "actor": {"use_dynamic_bsz": False}}}
        )
    )


def _finished(queue: LocalQueue, key: str, *, versions: list[int], mask: list[int]) -> None:
    """A row whose engine log-probs are -0.5; token ids count up from 10."""
    length = len(versions)
    queue.add(
        key,
        prompts=[1, 2],
        responses=list(range(10, 10 + length)),
        response_mask=mask,
        policy_version=versions,
        rollout_log_probs=[-0.5 * sampled for sampled in mask],
    )


def _call(prompt: list[int], *segments: tuple[list[int], int]) -> Trajectory:
    call = Trajectory(prompt=tuple(prompt), max_tokens=100)
    for tokens, version in segments:
        call.start()
        call.absorb(Segment.sampled(tokens, [-0.5] * len(tokens), version), finished=False)
    return call


def _partial(*calls: Trajectory, uid: str = "u") -> PartialResponse:
    return PartialResponse(key=ResponseKey(uid, 0), calls=calls)


def _stage_field(queue: LocalQueue, key: str) -> list[float]:
    return queue.rows["train"][key]["stage_log_probs"].tolist()


def test_a_finished_row_gets_the_trainers_log_probs_where_the_stage_sampled(queue):
    # The tool's token 12 carries version 3 too, and is no sampled token.
    _finished(queue, "a_0_0", versions=[2, 3, 3, 3], mask=[1, 1, 0, 1])
    workers = ToldWorkers(queue)
    workers.version = 3
    scores = _scorer().end_stage(workers, [], version=3)
    assert _stage_field(queue, "a_0_0") == pytest.approx([-0.5, -11.3, 0.0, -13.3])
    engine = queue.rows["train"]["a_0_0"]["rollout_log_probs"].tolist()
    assert engine == [-0.5, -0.5, 0.0, -0.5]  # the gap compares these with the trainer's
    assert queue.tags["train"]["a_0_0"] == {
        "status": "success", "response_len": 9, "stage_scored": True
    }  # fmt: skip
    assert scores.metrics == {
        "correction/stage_rows_forwarded": 1,
        "correction/stage_tokens_forwarded": 6,
        "correction/stage_tokens_scored": 2,
        "correction/stage_tokens_missed": 0,
    }


def test_a_row_that_waits_for_its_siblings_is_not_forwarded_again(queue):
    _finished(queue, "a_0_0", versions=[0, 0], mask=[1, 1])
    workers, scorer = ToldWorkers(queue), _scorer()
    scorer.end_stage(workers, [], version=0)
    workers.version = 1
    _finished(queue, "b_0_0", versions=[1], mask=[1])
    scorer.end_stage(workers, [], version=1)
    assert workers.forwarded == [[[1, 2, 10, 11]], [[1, 2, 10]]]
    assert _stage_field(queue, "a_0_0") == pytest.approx([-10, -11])


def test_prompts_failures_and_other_partitions_are_left_alone(queue):
    _finished(queue, "failed_0_0", versions=[0], mask=[1])
    _finished(queue, "prompt_0_0", versions=[0], mask=[1])
    queue.tags["train"]["failed_0_0"]["status"] = "failure"
    queue.tags["train"]["prompt_0_0"]["is_prompt"] = True
    queue.add("v", partition="val", prompts=[1], responses=[2])
    workers = ToldWorkers(queue)
    assert _scorer().end_stage(workers, [], version=0).logps == {}
    assert workers.forwarded == []


def test_an_unfinished_response_is_forwarded_whole_and_gives_its_new_tokens_alone(queue):
    workers = ToldWorkers(queue)
    workers.version = 2
    half = _partial(_call([1, 2], ([10, 11], 1), ([12, 13], 2)))
    old = _partial(_call([1], ([10], 1)), uid="nothing new")
    scores = _scorer().end_stage(workers, [half, old], version=2)
    assert workers.forwarded == [[[1, 2, 10, 11, 12, 13]]]
    assert list(scores.logps) == [half.key]
    assert scores.logps[half.key] == pytest.approx([-12.2, -13.2])


def test_turns_that_go_on_from_each_other_share_a_row():
    first = _call([1, 2], ([10, 11], 4))
    second = _call([1, 2, 10, 11, 50, 51], ([12], 4), ([13, 14], 5))
    (row,) = rows_of(_partial(first, second), 4)
    assert (row.prompt, row.response) == ([1, 2], [10, 11, 50, 51, 12, 13, 14])
    assert row.new == [0, 1, 4]
    (row,) = rows_of(_partial(first, second), 5)
    assert row.new == [5, 6]
    assert rows_of(_partial(first, second), 6) == []


def test_a_turn_that_rewrote_the_history_has_a_row_of_its_own(queue):
    first = _call([1, 2], ([10, 11], 4))
    second = _call([1, 2, 99], ([12], 4))
    rows = rows_of(_partial(first, second), 4)
    assert [(row.prompt, row.response, row.new) for row in rows] == [
        ([1, 2], [10, 11], [0, 1]),
        ([1, 2, 99], [12], [0]),
    ]
    scores = _scorer().end_stage(ToldWorkers(queue), [_partial(first, second)], version=4)
    assert scores.logps[ResponseKey("u", 0)] == pytest.approx([-10, -11, -12])


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_rows_fill_ranks_and_micro_batches_and_come_back_in_their_order(queue, ranks, micro_batch):
    workers = ToldWorkers(queue, ranks=ranks)
    lengths = [7, 1, 30, 2, 9]
    responses = [
        _partial(_call([1], (list(range(100 * i, 100 * i + length)), 0)), uid=str(i))
        for i, length in enumerate(lengths, start=1)
    ]
    scores = _scorer(micro_batch=micro_batch).end_stage(workers, responses, version=0)
    (rows,) = workers.forwarded
    assert len(rows) % (ranks * micro_batch) == 0
    assert len(rows) < 5 + ranks * micro_batch
    for i, response in enumerate(responses, start=1):
        tokens = [-float(100 * i + t) for t in range(lengths[i - 1])]
        assert scores.logps[response.key] == pytest.approx(tokens)
    assert scores.metrics["correction/stage_rows_forwarded"] == 5
    assert scores.metrics["correction/stage_tokens_forwarded"] == 5 + sum(lengths)


def test_each_rank_gets_about_as_many_tokens(queue):
    workers = ToldWorkers(queue, ranks=2)
    responses = [
        _partial(_call([1], (list(range(length)), 0)), uid=str(length))
        for length in (40, 1, 2, 39, 20, 20)
    ]
    _scorer().end_stage(workers, responses, version=0)
    (rows,) = workers.forwarded
    tokens = [sum(len(row) for row in half) for half in (rows[:3], rows[3:])]
    assert abs(tokens[0] - tokens[1]) <= 4


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_in_the_scratch_partition(queue, fails):
    workers = ToldWorkers(queue)
    workers.fails = fails
    try:
        _scorer().end_stage(workers, [_partial(_call([1], ([2], 0)))], version=0)
    except RuntimeError:
        assert fails
    assert queue.rows["stage"] == {}


def test_a_row_stored_after_its_stage_keeps_the_engines_log_probs_and_is_counted(queue):
    _finished(queue, "late_0_0", versions=[1, 2, 2, 2], mask=[1, 1, 0, 1])
    workers = ToldWorkers(queue)
    scores = _scorer().end_stage(workers, [], version=3)
    assert workers.forwarded == []
    assert _stage_field(queue, "late_0_0") == [-0.5, -0.5, 0.0, -0.5]
    assert scores.metrics["correction/stage_tokens_missed"] == 2


def test_a_row_without_sampled_tokens_is_completed(queue):
    _finished(queue, "tool only_0_0", versions=[0], mask=[0])
    _scorer().end_stage(ToldWorkers(queue), [], version=0)
    assert _stage_field(queue, "tool only_0_0") == [0.0]


def test_a_response_stored_since_the_clients_were_asked_is_scored_once(queue):
    _finished(queue, "u_0_0", versions=[0, 0], mask=[1, 1])
    both = _partial(_call([1, 2], ([10, 11], 0)))
    scores = _scorer().end_stage(ToldWorkers(queue), [both], version=0)
    assert scores.logps == {}
    assert scores.metrics["correction/stage_tokens_scored"] == 2


@pytest.mark.parametrize("seed", range(5))
def test_over_many_stages_each_token_has_the_log_prob_of_the_weights_that_sampled_it(queue, seed):
    """Responses live up to five stages; holders take what is scored, as the client does."""
    draw = random.Random(seed)
    workers, scorer, alive = ToldWorkers(queue, ranks=2), _scorer(micro_batch=2), {}
    for version in range(12):
        workers.version = version
        alive.update({f"{version}.{i}": _call([1, 2]) for i in range(3)})
        for uid, call in list(alive.items()):
            tokens = [draw.randrange(3, 99) for _ in range(draw.randrange(4))]
            call.start()
            call.absorb(Segment.sampled(tokens, [-9.0] * len(tokens), version), finished=False)
            if call.num_tokens and draw.random() < 0.4 and tokens:
                queue.add(
                    f"{uid}_0_0",
                    prompts=[1, 2],
                    responses=call.tokens(),
                    response_mask=[1] * call.num_tokens,
                    policy_version=call.versions(),
                    rollout_log_probs=call.logps(),
                )
                del alive[uid]
        partial = [_partial(call, uid=uid) for uid, call in alive.items()]
        for key, logps in scorer.end_stage(workers, partial, version=version).logps.items():
            alive[key.uid].rescore(version, logps)
    assert len(queue.rows["train"]) > 10
    for row in queue.rows["train"].values():
        told = [
            workers.logp(token, version)
            for token, version in zip(
                row["responses"].tolist(), row["policy_version"].tolist(), strict=True
            )
        ]
        torch.testing.assert_close(row["stage_log_probs"], torch.tensor(told))
