"""The correction: every bad number is refused with the mend, and no ratio is taken that is none."""

import pytest

from copris_core.verl_adapter.correction_config import CorrectionConfig
from copris_core.verl_adapter.errors import ConfigError

ROLLOUT = "actor_rollout_ref.rollout"
ACTOR = "actor_rollout_ref.actor"
WEIGHTS = {"level": "token", "threshold": 2.0}


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        (
            {"name": "decoupled"},
            "correction=decoupled needs correction.level and correction.threshold: token and 2.0 "
            "are common",
        ),
        (
            {"name": "decoupled", "level": "group", "threshold": 2.0},
            "correction.level=group is unknown: use one of token, sequence",
        ),
        (
            {"name": "decoupled", "level": "token", "threshold": 0.9},
            "correction.threshold=0.9 cuts the weight 1 of an on-policy token: set it to 1 or more",
        ),
        (
            {"name": "stage", "threshold": 2.0},
            "correction.threshold=2.0 does nothing with correction=stage: add "
            "correction=decoupled, or remove it",
        ),
        (
            {"name": "none", "level": "token"},
            "correction.level=token does nothing with correction=none: add correction=decoupled, "
            "or remove it",
        ),
        (
            {"name": "none", "reject": "row", "reject_above": 1.0},
            "correction.reject=row is unknown: use one of none, token, sequence",
        ),
        (
            {"name": "cross_stage", "reject_above": 1.0},
            "correction.reject_above=1.0 does nothing with correction.reject=none: set it to "
            "token or sequence, or remove it",
        ),
        (
            {"name": "cross_stage", "reject": "token"},
            "correction.reject=token needs correction.reject_above above 0: 1.0 rejects "
            "probabilities that changed by more than a factor e",
        ),
        (
            {"name": "cross_stage", "max_logprob_gap": 0.0},
            "correction.max_logprob_gap=0.0 ends every run: set it above 0, or to null for no "
            "bound",
        ),
        (
            {"name": "none", "allow_truncated_sampling": True},
            "correction.allow_truncated_sampling=true does nothing with correction=none: remove it",
        ),
    ],
)
def test_a_number_that_is_wrong_missing_or_idle_is_refused(choice, line):
    with pytest.raises(ConfigError) as refusal:
        CorrectionConfig(**choice)
    assert str(refusal.value) == line


@pytest.mark.parametrize("threshold", [float("nan"), -1.0])
def test_a_threshold_that_is_no_bound_is_refused(threshold):
    with pytest.raises(ConfigError, match="set it to 1 or more"):
        CorrectionConfig(name="decoupled", level="token", threshold=threshold)


def test_only_the_engines_and_the_stages_log_probs_are_those_of_the_sampling_policies():
    anchored = [
        name
        for name in ("none", "cross_stage", "stage", "decoupled")
        if CorrectionConfig(
            name=name, **(WEIGHTS if name == "decoupled" else {})
        ).anchors_on_behaviour
    ]
    assert anchored == ["cross_stage", "stage"]


def test_without_ratio_and_rejection_nothing_is_compared_with_the_engine():
    assert not CorrectionConfig(name="none").takes_ratio
    assert CorrectionConfig(name="none", reject="token", reject_above=1.0).takes_ratio
    assert CorrectionConfig(name="stage").takes_ratio


def _lines(entered, *overrides: str) -> list[str]:
    from copris_core.verl_adapter.check import check

    cfg, run = entered("experiment=copris", *overrides)
    return check(run, cfg)


REJECTING = ("correction.reject=sequence", "correction.reject_above=1")


@pytest.mark.verl
@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["correction=decoupled", f"{ROLLOUT}.top_p=0.9", f"{ROLLOUT}.top_k=20"],
            f"correction=decoupled with top_p=0.9, top_k=20 has a biased ratio: set {ROLLOUT}."
            f"top_p=1 {ROLLOUT}.top_k=-1, use correction=none, or accept it with "
            "correction.allow_truncated_sampling=true",
        ),
        (
            ["correction=stage", f"+{ROLLOUT}.repetition_penalty=1.1"],
            "correction=stage with repetition_penalty=1.1 has a biased ratio: set "
            f"{ROLLOUT}.repetition_penalty=1, use correction=none, or accept it with "
            "correction.allow_truncated_sampling=true",
        ),
        (
            ["correction=none", *REJECTING, f"{ROLLOUT}.top_p=0.9"],
            f"correction.reject=sequence with top_p=0.9 has a biased ratio: set {ROLLOUT}.top_p=1, "
            "use correction=none, or accept it with correction.allow_truncated_sampling=true",
        ),
        (
            [f"{ROLLOUT}.logprobs_mode=raw_logprobs", f"{ROLLOUT}.temperature=0.7"],
            f"correction=cross_stage with temperature=0.7 and {ROLLOUT}.logprobs_mode=raw_logprobs "
            "has a wrong ratio, the trainer applies the temperature: remove logprobs_mode",
        ),
        (
            ["correction=decoupled", f"{ROLLOUT}.calculate_log_probs=false"],
            f"correction=decoupled needs {ROLLOUT}.calculate_log_probs=true: the ratio is taken "
            "against the engine's log-probs",
        ),
        (
            [*REJECTING, f"{ACTOR}.loss_agg_mode=seq-mean-token-mean"],
            f"correction.reject=sequence with {ACTOR}.loss_agg_mode=seq-mean-token-mean would "
            "count rejected responses as zeros: use token-mean, or correction.reject=token",
        ),
        (
            [f"{ACTOR}.policy_loss.loss_mode=bypass_mode"],
            f"{ACTOR}.policy_loss.loss_mode=bypass_mode takes its own correction: use "
            "loss_mode=cross_stage and the group correction",
        ),
        (
            ["strategy=sync", "correction=stage"],
            "correction=stage does nothing with strategy=sync: every token is of the present "
            "stage; use correction=none, or strategy=copris",
        ),
    ],
)
def test_a_ratio_that_would_be_none_is_refused(entered, overrides, line):
    with pytest.raises(ConfigError) as refusal:
        _lines(entered, *overrides)
    assert str(refusal.value) == line


@pytest.mark.verl
@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (
            [f"{ROLLOUT}.top_p=0.9", "correction.allow_truncated_sampling=true"],
            "top_p=0.9: the engine's log-probs are of what was left to sample from",
        ),
        (["correction=stage"], "about 32 finished and 32 unfinished ones a step"),
        (REJECTING, "a forward pass over the trained responses"),
    ],
)
def test_what_a_correction_costs_or_biases_is_noted(entered, overrides, note):
    notes = [line for line in _lines(entered, *overrides) if "note" in line and "park" not in line]
    assert len(notes) == 1
    assert note in notes[0]


@pytest.mark.verl
@pytest.mark.parametrize(
    "overrides",
    [
        ["correction=decoupled"],
        ["correction=decoupled", *REJECTING],
        [f"{ROLLOUT}.logprobs_mode=raw_logprobs"],
        [f"{ROLLOUT}.temperature=0.7"],
        ["correction.reject=token", "correction.reject_above=1", "correction=decoupled",
         f"{ACTOR}.loss_agg_mode=seq-mean-token-mean"],
    ],
)  # fmt: skip
def test_what_is_right_is_left_alone(entered, overrides):
    assert not [line for line in _lines(entered, *overrides) if "note" in line]
