"""Every other choice about sampling, on the real stack: strategies, staleness, sources, limits."""

import json

import pytest

from copris_core import cli
from tests.e2e.recompute import AGREE, worst_gap
from tests.e2e.runs import Finished, read_jsonl, survivors

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def _audit(run: Finished, capsys: pytest.CaptureFixture[str]) -> dict:
    """The books of a run; the command's exit code must say the same."""
    code = cli.main(["audit", "--json", str(run.folder)])
    books = json.loads(capsys.readouterr().out)
    assert code == bool(books["lost"] or books["duplicated"])
    return books


def test_naive_partial_rollout_submits_a_pool_and_does_not_refill(naive_stage: Finished) -> None:
    assert naive_stage.code == 0, naive_stage.output
    started = [
        [fact for fact in _ledger(naive_stage) if fact["version"] == version]
        for version in range(5)
    ]
    for facts in started:
        admitted = sum(fact["event"] in ("started", "resumed") for fact in facts)
        assert admitted <= 64
    assert naive_stage.summary["occupancy"] < 0.9  # slots that came free stayed empty
    assert sum(row["rollout/interrupted"] for row in naive_stage.steps) > 0


def test_with_a_bound_on_staleness_no_token_is_trained_too_late(naive_stage: Finished) -> None:
    assert max(row["staleness/lag_max"] for row in naive_stage.steps) == 1
    assert all(
        row["step"] - 1 - min(row["policy_version"]) <= 1 for row in naive_stage.trajectories
    )


def test_the_trainer_scores_every_token_once_under_the_weights_that_sampled_it(
    naive_stage: Finished,
) -> None:
    scored = sum(row["correction/stage_tokens_scored"] for row in naive_stage.steps)
    generated = sum(row["tokens/generated"] for row in naive_stage.steps)
    assert scored == generated
    assert max(worst_gap(naive_stage, versions_older=0).values()) < AGREE
    assert 0 < naive_stage.summary["max_logprob_gap"] < AGREE


def test_no_response_is_lost_or_trained_twice(
    naive_stage: Finished, oversample_flaky: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (naive_stage, oversample_flaky):
        books = _audit(run, capsys)
        assert (books["lost"], books["duplicated"]) == ({}, {})
        assert books["responses"]["trained"] == 32 * len(run.steps)


def test_oversampling_has_more_groups_under_way_than_it_trains(oversample_flaky: Finished) -> None:
    assert oversample_flaky.code == 0, oversample_flaky.output
    assert {row["rollout/limit"] for row in oversample_flaky.steps} == {64}
    drawn = [fact for fact in _ledger(oversample_flaky) if fact["event"] == "drawn"]
    assert len([fact for fact in drawn if fact["version"] == 0]) == 8


def test_far_off_tokens_are_rejected_and_weights_are_truncated(oversample_flaky: Finished) -> None:
    rows = oversample_flaky.steps
    assert all(0 <= row["correction/rejected_fraction"] < 0.5 for row in rows)
    assert max(row["correction/rejected_fraction"] for row in rows) > 0


def test_a_reward_that_fails_is_asked_again_and_nothing_is_sampled_again(
    oversample_flaky: Finished,
) -> None:
    assert sum(row["rollout/retries"] for row in oversample_flaky.steps) > 0
    assert sum(row["rollout/failed_groups"] for row in oversample_flaky.steps) == 0
    finished = [fact for fact in _ledger(oversample_flaky) if fact["event"] == "started"]
    assert len(finished) == len({(fact["uid"], fact["index"]) for fact in finished})


def test_an_adaptive_limit_grows_out_of_a_bad_start_and_says_why(adaptive: Finished) -> None:
    assert adaptive.code == 0, adaptive.output
    limits = [row["rollout/limit"] for row in adaptive.steps]
    assert limits[0] == 8
    assert 16 <= limits[-1] <= 64  # the staleness cap: 2 x 32
    assert all("rollout/limit_reason" in row for row in adaptive.steps)
    assert all(row.get("rollout/in_flight", 0) <= row["rollout/limit"] for row in adaptive.steps)


def test_a_kept_kv_cache_saves_the_prefill_and_its_error_is_told(adaptive: Finished) -> None:
    kept = [row["kv/kept_tokens"] for row in adaptive.steps]
    assert sum(kept) > 0
    errors = [row["kv/resumed_logprob_error_mean"] for row in adaptive.steps if _has_error(row)]
    assert errors
    assert 1e-6 < max(errors) < 0.05  # recomputed it would be below 1e-6


def _has_error(row: dict) -> bool:
    return "kv/resumed_logprob_error_mean" in row


def test_the_method_of_the_guide_chooses_the_rows_and_brings_the_loss(adaptive: Finished) -> None:
    assert {row["mine/kept"] for row in adaptive.steps} == {5 / 8}
    assert {row["samples/trained"] for row in adaptive.steps} == {20}
    pruned = [fact for fact in _ledger(adaptive) if fact["event"] == "pruned"]
    assert {fact["reason"] for fact in pruned} == {"max_variance"}
    assert len(pruned) == 12 * len(adaptive.steps)


def test_rows_that_verl_makes_up_are_in_no_book(
    adaptive: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    books = _audit(adaptive, capsys)
    assert (books["lost"], books["duplicated"]) == ({}, {})
    assert books["responses"]["trained"] == 20 * len(adaptive.steps)


def test_engines_and_trainer_that_disagree_end_the_run_in_one_line(refused_gap: Finished) -> None:
    assert refused_gap.code == 1
    line = refused_gap.output.splitlines()[-1]
    assert "1e-09" in line
    assert "max_logprob_gap" in line
    assert not list((refused_gap.folder / "checkpoints").glob("*/complete.json"))
    assert survivors(refused_gap.mark) == []


def _ledger(run: Finished) -> list[dict]:
    return read_jsonl(run.folder / "ledger.jsonl")
