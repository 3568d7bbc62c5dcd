"""The choices of ProRL and DAPO: what is refused, with its one line, and what the check says."""

import functools
from pathlib import Path

import pytest

pytestmark = pytest.mark.verl

CONFIGS = Path(__file__).parents[2] / "configs"
MERGED = ("group_filter", "reward_shaping", "kl_control", "reference_reset", "entropy_control",
          "length_schedule", "strategy", "correction")  # fmt: skip
SMALL = ("task.rows=8", "task.val_rows=2")
PAIRS = "must be a list of pairs, first step and tokens: set it to [[1, 0.5], [1500, 1.0]], say"
NUMBERS = "must give each domain of the validation a number: {math: 2, logic: 1}, or null"
KL = "kl_control=fixed"


@functools.cache
def _base():
    from copris_core.verl_adapter.overrides import compose

    return compose(SMALL)


def _merged(*overrides: str):
    """What Hydra makes of more overrides, without its second of work; typed and derived."""
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.door import derive, parse

    cfg = _base()
    for each in overrides:
        name, _, option = each.partition("=")
        if name in MERGED:
            cfg = OmegaConf.merge(cfg, OmegaConf.load(CONFIGS / name / f"{option}.yaml"))
        else:
            cfg = OmegaConf.merge(cfg, OmegaConf.from_dotlist([each]))
    run = parse(cfg)
    return derive(cfg, run), run


def _lines(*overrides: str) -> list[str]:
    from copris_core.verl_adapter.check import check

    cfg, run = _merged(*overrides)
    return check(run, cfg)


def _refusal(*overrides: str) -> str:
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError) as refusal:
        _lines(*overrides)
    return str(refusal.value)


# ---- refused ----


@pytest.mark.parametrize(
    "setting",
    [
        "group_filter.max_batches=3",
        "reward_shaping.truncated_factor=0.5",
        "kl_control.initial=0",
        "reference_reset.weights={days: 1}",
        "entropy_control.window=3",
        "length_schedule.steps=[[1, 0.5]]",
    ],
)
def test_a_setting_without_an_option_is_refused(setting):
    key, _, value = setting.partition("=")
    group = key.partition(".")[0]
    value = {"{days: 1}": "{'days': 1}"}.get(value, value)
    assert _refusal(setting) == (
        f"{key}={value} does nothing with {group}=none: choose an option, or remove it"
    )


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            [KL, "kl_control.target=0.05"],
            "kl_control.target does nothing with kl_control=fixed: add kl_control=adaptive, or "
            "remove it",
        ),
        (
            ["length_schedule=steps", "length_schedule.on_steps=5"],
            "length_schedule.on_steps does nothing with length_schedule=steps: add "
            "length_schedule=cosine, or remove it",
        ),
        (
            ["length_schedule=cosine", "length_schedule.steps=[[1, 0.5]]"],
            "length_schedule.steps does nothing with length_schedule=cosine: add "
            "length_schedule=steps, or remove it",
        ),
        (
            ["reference_reset=interval", KL, "reference_reset.degraded_factor=0.9"],
            "reference_reset.degraded_factor needs reference_reset.window: how many validations "
            "are looked back on",
        ),
    ],
)
def test_a_setting_that_its_option_does_not_read_is_refused(overrides, line):
    assert _refusal(*overrides) == line


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            [KL, "kl_control.estimator=k4"],
            "kl_control.estimator=k4 is unknown: use one of kl, k1, abs, mse, k2, low_var_kl, k3, "
            "kl+, k1+, abs+, mse+, k2+, low_var_kl+, k3+",
        ),
        (
            [KL, "kl_control.name=mine"],
            "kl_control=mine is unknown: use one of fixed, adaptive",
        ),
        (
            ["length_schedule=steps", "length_schedule.name=mine"],
            "length_schedule=mine is unknown: use one of steps, cosine",
        ),
        (
            ["group_filter=dapo", "group_filter.when_exceeded=fail"],
            "group_filter.when_exceeded='fail' must be one of keep, stop",
        ),
        (
            [KL, "reference_reset=prorl_v1", "reference_reset.best_after_reset=forget"],
            "reference_reset.best_after_reset='forget' must be one of restart, keep",
        ),
    ],
)
def test_an_unknown_word_is_refused_with_the_words_there_are(overrides, line):
    assert _refusal(*overrides) == line


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (
            [KL, "kl_control.initial=null"],
            "kl_control=fixed needs kl_control.initial: verl's default is 0.001",
        ),
        (
            ["group_filter=dapo", "group_filter.max_batches=null"],
            "group_filter.max_batches is not set: give it a value, or set group_filter=none",
        ),
        (
            ["group_filter=dapo", "group_filter.max_batches=2.5"],
            "group_filter.max_batches=2.5 must be a whole number",
        ),
        (
            ["kl_control=adaptive", "kl_control.target=low"],
            "kl_control.target=low must be a number",
        ),
        ([KL, "kl_control.initial=true"], "kl_control.initial=True must be a number"),
        ([KL, "kl_control.estimator=3"], "kl_control.estimator=3 must be text"),
        (
            [KL, "reference_reset=prorl_v1", "reference_reset.window=2.5"],
            "reference_reset.window=2.5 must be a whole number",
        ),
        (
            [KL, "reference_reset=interval", "reference_reset.reset_optimizer=1"],
            "reference_reset.reset_optimizer=1 must be true or false",
        ),
        (
            ["entropy_control=trend", "entropy_control.window=1.5"],
            "entropy_control.window=1.5 must be a whole number",
        ),
        (
            ["reward_shaping=dapo", "reward_shaping.overlong_share=1.5"],
            "reward_shaping.overlong_share=1.5 must lie in (0, 1]: DAPO's is 0.2 of the response "
            "budget",
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_key(overrides, line):
    assert _refusal(*overrides) == line


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("[[1]]", f"length_schedule.steps=[[1]] {PAIRS}"),
        ("soon", f"length_schedule.steps=soon {PAIRS}"),
        ("8", f"length_schedule.steps=8 {PAIRS}"),
        ("[1, 0.5]", f"length_schedule.steps=[1, 0.5] {PAIRS}"),
        ("[[1, half]]", f"length_schedule.steps=[[1, 'half']] {PAIRS}"),
        ("[[1.5, 0.5]]", f"length_schedule.steps=[[1.5, 0.5]] {PAIRS}"),
        ("[[1, true]]", f"length_schedule.steps=[[1, True]] {PAIRS}"),
        ("[]", "length_schedule.steps begin at []: they must begin at 1 and ascend"),
        ("null", "length_schedule.steps begin at []: they must begin at 1 and ascend"),
        ("[[2, 0.5]]", "length_schedule.steps begin at [2]: they must begin at 1 and ascend"),
        ("[[1, 0]]", "length_schedule.steps: 0 tokens is no budget; give 1 or more"),
        (
            "[[1, 0.5], [3, 513]]",
            "length_schedule asks for 513 tokens: engines are built for "
            "data.max_response_length=512; raise that, or lower the schedule",
        ),
        (
            "[[1, .nan]]",
            "length_schedule asks for nan tokens: engines are built for "
            "data.max_response_length=512; raise that, or lower the schedule",
        ),
    ],
)
def test_a_table_of_lengths_that_cannot_be_followed_is_refused(given, line):
    assert _refusal("length_schedule=steps", f"length_schedule.steps={given}") == line


@pytest.mark.parametrize("given", ["600", ".inf"])
def test_a_length_beyond_what_engines_are_built_for_is_refused(given):
    refusal = _refusal("length_schedule=cosine", f"length_schedule.minimum={given}")
    assert refusal.startswith(f"length_schedule asks for {given.strip('.')} tokens: engines are")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("days", f"reference_reset.weights=days {NUMBERS}"),
        ("[1]", f"reference_reset.weights=[1] {NUMBERS}"),
        ("{days: much}", f"reference_reset.weights={{'days': 'much'}} {NUMBERS}"),
        ("{days: true}", f"reference_reset.weights={{'days': True}} {NUMBERS}"),
        (
            "{days: -1}",
            "reference_reset.weights of days: give each domain 0 or more, and one of them more "
            "than 0",
        ),
        (
            "{math: 1}",
            "reference_reset.weights is for math, the validation has days: set one weight for "
            "each of these",
        ),
        (
            "{days: 1, math: 1}",
            "reference_reset.weights is for days, math, the validation has days: set one weight "
            "for each of these",
        ),
    ],
)
def test_weights_that_do_not_fit_the_validation_are_refused(given, line):
    overrides = [KL, "reference_reset=prorl_v1", f"reference_reset.weights={given}"]
    assert _refusal(*overrides, "trainer.test_freq=1") == line


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
    assert _refusal(*overrides) == line


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
    _, run = _merged(*steps)
    assert [run.prolonged.length.tokens_at(step) for step in (2, 3, 9)] == [256, 100, 512]


def test_weights_of_the_validations_domains_are_taken():
    overrides = [KL, "reference_reset=prorl_v1", "reference_reset.weights={days: 2}"]
    _, run = _merged(*overrides)
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

    cfg, run = _merged()
    assert [*prolonged_lines(run), *prolonged_notes(run, cfg)] == []
