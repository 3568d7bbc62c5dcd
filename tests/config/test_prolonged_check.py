"""What ``copris check`` refuses of ProRL's and DAPO's choices, and what it says of them."""

import functools

import pytest

from tests.config.merging import merged, refusal

pytestmark = pytest.mark.verl

SMALL = ("task.rows=8", "task.val_rows=2")
KL = "kl_control=fixed"


@functools.cache
def _base():
    from copris_core.verl_adapter.overrides import compose

    return compose(SMALL)


def _typed(*overrides: str):
    from copris_core.verl_adapter.door import derive, parse

    cfg = merged(_base(), *overrides)
    run = parse(cfg)
    return derive(cfg, run), run


def _lines(*overrides: str) -> list[str]:
    from copris_core.verl_adapter.check import check

    cfg, run = _typed(*overrides)
    return check(run, cfg)


# ---- refused ----


@pytest.mark.parametrize("given", ["{math: 1}", "{days: 1, math: 1}"])
def test_weights_of_domains_that_are_not_validated_are_refused(given):
    overrides = [KL, "reference_reset=prorl_v1", f"reference_reset.weights={given}"]
    names = ", ".join(sorted(given.strip("{}").replace(": 1", "").split(", ")))
    assert refusal(_lines, *overrides, "trainer.test_freq=1") == (
        f"reference_reset.weights is for {names}, the validation has days: set one weight for each "
        "of these"
    )


def test_weights_name_domains_as_metrics_do():
    from types import SimpleNamespace

    from copris_core.controllers.validation_watch import ValidationTrigger
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.prolonged_check import refuse_other_domains

    rows = [SimpleNamespace(data_source=name) for name in ("openai/gsm8k", "logic", "logic")]

    def run(weights):
        reset = SimpleNamespace(validation=ValidationTrigger(weights=weights))
        return SimpleNamespace(prolonged=SimpleNamespace(reset=reset))

    refuse_other_domains(run({"openai_gsm8k": 2.0, "logic": 1.0}), rows)
    refuse_other_domains(run(None), rows)
    with pytest.raises(ConfigError, match=r"the validation has logic, openai_gsm8k"):
        refuse_other_domains(run({"openai/gsm8k": 2.0, "logic": 1.0}), rows)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["reference_reset=interval"],
            "reference_reset resets a reference that kl_control=none does not build: add "
            "kl_control=fixed or kl_control=adaptive, or reference_reset=none",
        ),
        (
            [KL, "reference_reset=prorl_v1", "trainer.test_freq=-1"],
            "reference_reset.window looks at validations that are never made: set "
            "trainer.test_freq to 1 or more",
        ),
        (
            ["group_filter=dapo", "actor_rollout_ref.rollout.n=1"],
            "group_filter: a group of 1 has no spread: raise actor_rollout_ref.rollout.n, or "
            "group_filter=none",
        ),
        (
            ["reward_shaping=dapo", "reward.reward_manager.name=dapo"],
            "reward_shaping and reward.reward_manager.name=dapo both shape the reward: set "
            "reward_shaping=none, or remove the reward manager",
        ),
        (
            ["reward_shaping=dapo", "reward.custom_reward_function.path=pkg://mine"],
            "reward_shaping shapes what a task says, not reward.custom_reward_function.path="
            "pkg://mine: set reward_shaping=none, or remove that",
        ),
        (
            [KL, "reference_reset=interval", "actor_rollout_ref.model.lora_rank=8"],
            "the reference policy of a run with an adapter is the actor without it, so there is "
            "nothing to reset: set actor_rollout_ref.model.lora_rank=0, or reference_reset=none",
        ),
        (
            ["strategy=verl_sync", "correction=none", KL, "group_filter=dapo"],
            "strategy=verl_sync is verl's own trainer and knows no method of ours: add "
            "group_filter=none kl_control=none",
        ),
    ],
)
def test_a_choice_that_another_makes_impossible_is_refused(overrides, line):
    assert refusal(_lines, *overrides) == line


# ---- allowed ----


def test_a_whole_number_is_a_number():
    lines = _lines(KL, "kl_control.initial=1", "reward_shaping=dapo",
                   "reward_shaping.overlong_penalty=2")  # fmt: skip
    assert "KL             low_var_kl in the loss, coefficient 1" in lines
    assert "reward         up to -2 in the last 20%" in lines


def test_shares_are_shares_of_the_longest_response():
    steps = ["length_schedule=steps", "length_schedule.steps=[[1, 0.5], [3, 100], [9, 1.0]]"]
    cosine = ["length_schedule=cosine", "length_schedule.minimum=0.25"]
    assert "length         100 to 512 tokens" in _lines(*steps)
    assert "length         128 to 512 tokens" in _lines(*cosine)
    _, run = _typed(*steps)
    assert [run.prolonged.length.tokens_at(step) for step in (2, 3, 9)] == [256, 100, 512]


def test_weights_of_the_validations_domains_are_taken():
    overrides = [KL, "reference_reset=prorl_v1", "reference_reset.weights={days: 2}"]
    _, run = _typed(*overrides)
    assert run.prolonged.reset.validation.weights == {"days": 2}
    assert _lines(*overrides, "trainer.test_freq=1")


# ---- said ----


FILTER = (
    "group filter   groups without spread are replaced; after 40 groups in a step they are trained"
)
SHAPED = "reward         up to -1 in the last 20%"
HELD = "KL             low_var_kl in the loss, coefficient 0.01, target 0.05 nats a token"
RESET = (
    "reference      reset with the optimizer: validation worse or stalled over 5; 100 steps apart "
    "at least"
)


@pytest.mark.parametrize(
    ("experiment", "said", "notes"),
    [
        ("prorl", [FILTER, HELD, RESET], ["2 validations in this run are fewer than "]),
        ("dapo", [FILTER, SHAPED], []),
        (
            "copris_cppo_prorl_dapo",
            [FILTER, SHAPED, HELD, RESET],
            ["2 validations in this run are fewer than "],
        ),
    ],
)
def test_the_check_says_what_was_chosen(experiment, said, notes, entered):
    from copris_core.verl_adapter.check import check

    cfg, run = entered(f"experiment={experiment}")
    lines = check(run, cfg)
    assert lines[3 : 3 + len(said)] == said
    assert lines[3 + len(said)].startswith("rows ")
    noted = [line for line in lines if "note" in line]
    assert len(noted) == len(notes)
    assert all(note in line for note, line in zip(notes, noted, strict=True))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            ["group_filter=dapo", "group_filter.when_exceeded=stop"],
            "group filter   groups without spread are replaced; after 40 groups in a step they end "
            "the run",
        ),
        (
            ["reward_shaping=prorl_v2", "reward_shaping.cosine_weight=0.5"],
            "reward         times 0 when cut off, plus 0.5 x cosine of the length when correct",
        ),
        (
            [KL, "reference_reset=prorl_v2", "trainer.test_freq=5"],
            "reference      reset: every 500 steps, or KL above 0.1, or validation worse or "
            "stalled over 5; 200 steps apart at least",
        ),
        (["entropy_control=trend"], "entropy        bonus from 0.01, follows the trend"),
    ],
)
def test_the_check_says_each_choice_in_one_line(overrides, line):
    assert line in _lines(*overrides)


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (
            [KL, "reference_reset=interval", "trainer.total_training_steps=101",
             "trainer.save_freq=-1"],
            "no checkpoints (trainer.save_freq=-1): a prolonged run that dies starts over",
        ),
        (
            [KL, "reference_reset=prorl_v1", "trainer.test_freq=5"],
            "4 validations in this run are fewer than reference_reset.window=5: lower "
            "trainer.test_freq=5",
        ),
    ],
)  # fmt: skip
def test_what_is_allowed_but_odd_is_noted(overrides, note):
    assert f"[yellow]note[/yellow]           {note}" in _lines(*overrides)


def test_with_nothing_chosen_nothing_is_said():
    from copris_core.verl_adapter.prolonged_check import prolonged_lines, prolonged_notes

    cfg, run = _typed()
    assert [*prolonged_lines(run), *prolonged_notes(run, cfg)] == []
