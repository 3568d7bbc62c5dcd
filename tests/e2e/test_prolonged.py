"""ProRL and DAPO on the real stack: coefficients move, a reset reference survives a restart."""

import json
from itertools import pairwise

import pytest

from copris_core import cli
from tests.e2e.recompute import AGREE, reference_gap
from tests.e2e.runs import Finished, read_jsonl

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_prolonged_run_goes_on_after_its_restart(prorl: Finished) -> None:
    assert prorl.code == 0, prorl.output
    assert [row["step"] for row in prorl.steps] == [1, 2, 3, 4, 5, 6]
    assert "goes on from   step 4" in prorl.output


def test_the_coefficient_of_the_next_update_is_the_controllers(prorl: Finished) -> None:
    """The actor tells what it used (verl's kl_coef); the controller told it a step before."""
    used = [row["update/kl_coefficient"] for row in prorl.steps]
    ordered = [row["prorl/kl_coefficient"] for row in prorl.steps]
    assert used == pytest.approx([0.01, *ordered[:-1]])
    assert len(set(used)) > 1


def test_after_a_reset_kl_is_only_what_one_update_makes(prorl: Finished) -> None:
    """Measured in the actor's loss: 0 in the first mini-batch, and a step's worth in the second."""
    assert [row.get("prorl/reset", 0) for row in prorl.steps] == [0, 0, 1, 0, 0, 1]
    kl = [row["prorl/kl_divergence"] for row in prorl.steps]
    assert all(each > 0 for each in kl)
    assert kl[0] < kl[2] / 3
    assert kl[3] < kl[2] / 3


def test_the_reason_of_a_reset_is_told_in_words(prorl: Finished) -> None:
    resets = read_jsonl(prorl.folder / "resets.jsonl")
    assert [(each["step"], each["reasons"]) for each in resets] == [
        (3, ["interval"]),
        (6, ["interval"]),
    ]
    assert "of an interval of 3" in resets[0]["sentence"]


def test_the_reference_is_the_policy_of_the_reset_before_and_after_a_restart(
    prorl: Finished,
) -> None:
    """Recomputed without verl from the weights that were saved after step 3, which was reset at."""
    before = reference_gap(prorl, steps=(4,), weights_of_step=3)
    after = reference_gap(prorl, steps=(5, 6), weights_of_step=3)
    assert max(before, after) < AGREE
    assert reference_gap(prorl, steps=(5, 6), weights_of_step=1) > 10 * AGREE


def test_the_response_budget_follows_the_schedule(prorl: Finished) -> None:
    assert [row["prorl/response_budget"] for row in prorl.steps] == [64, 64, 256, 256, 256, 256]
    longest = {}
    for row in prorl.trajectories:
        longest[row["step"]] = max(longest.get(row["step"], 0), len(row["responses"]))
    assert max(longest[1], longest[2]) <= 64
    assert max(longest[step] for step in (3, 4, 5, 6)) > 64


def test_the_entropy_bonus_is_in_the_loss(prorl: Finished) -> None:
    assert all(row["update/entropy"] > 0 for row in prorl.steps)


def test_groups_without_spread_are_never_trained(prorl: Finished, everything: Finished) -> None:
    for run in (prorl, everything):
        assert sum(row["filter/kept_without_spread"] for row in run.steps) == 0
        assert sum(row["filter/groups_filtered"] for row in run.steps) > 0
    assert all(len(set(each)) > 1 for each in _by_group(prorl).values())


def _by_group(run: Finished) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = {}
    for row in run.trajectories:
        scores.setdefault(row["key"].split("_")[0], []).append(row["score"])
    return scores


def test_all_methods_act_at_once(everything: Finished) -> None:
    assert everything.code == 0, everything.output
    rows = everything.steps
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["cppo/kept_fraction"] for row in rows} == {0.5}
    assert sum(row["cppo/zero_variance_groups"] for row in rows) == 0
    assert sum(row["rollout/interrupted"] for row in rows) > 0
    assert sum(row["reward/length_penalty"] for row in rows) > 0
    assert len({row["update/kl_coefficient"] for row in rows}) > 1
    assert rows[-1]["prorl/reset_count"] > 0
    assert max(row.get("logprob_gap/max", 0) for row in rows) < AGREE


def test_a_reset_on_two_ranks_takes_kl_down(everything: Finished) -> None:
    rows = everything.steps
    after_reset = [
        (before["prorl/kl_divergence"], after["prorl/kl_divergence"])
        for before, after in pairwise(rows)
        if before.get("prorl/reset")
    ]
    assert after_reset
    assert all(after < before for before, after in after_reset)


def test_every_prompt_ends_once(
    prorl: Finished, everything: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in (prorl, everything):
        code = cli.main(["audit", "--json", str(run.folder)])
        books = json.loads(capsys.readouterr().out)
        assert (code, books["lost"], books["duplicated"]) == (0, {}, {})
        assert books["responses"]["filtered"] > 0
