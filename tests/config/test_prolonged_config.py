"""The choices of ProRL and DAPO: what their readers refuse, with one line that says the mend."""

import pytest

from tests.config.merging import merged, refusal

pytestmark = pytest.mark.verl

GROUPS = ("group_filter", "reward_shaping", "kl_control", "reference_reset", "entropy_control",
          "length_schedule")  # fmt: skip
PAIRS = "must be a list of pairs, first step and tokens: set it to [[1, 0.5], [1500, 1.0]], say"
NUMBERS = "must give each domain of the validation a number: {math: 2, logic: 1}, or null"
KL = "kl_control=fixed"


def _choose(*overrides: str):
    """The three readers, on the groups that they read alone."""
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.prolonged_config import (
        filter_choice,
        prolonged_choice,
        shaping_choice,
    )

    cfg = OmegaConf.create({"data": {"max_response_length": 512}})
    cfg = merged(cfg, *(f"{group}=none" for group in GROUPS), *overrides)
    return prolonged_choice(cfg), filter_choice(cfg), shaping_choice(cfg)


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
    assert refusal(_choose, setting) == (
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
    assert refusal(_choose, *overrides) == line


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
    assert refusal(_choose, *overrides) == line


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
    assert refusal(_choose, *overrides) == line


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
    assert refusal(_choose, "length_schedule=steps", f"length_schedule.steps={given}") == line


@pytest.mark.parametrize("given", ["600", ".inf"])
def test_a_length_beyond_what_engines_are_built_for_is_refused(given):
    line = refusal(_choose, "length_schedule=cosine", f"length_schedule.minimum={given}")
    assert line.startswith(f"length_schedule asks for {given.strip('.')} tokens: engines are")


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
    ],
)
def test_weights_that_are_none_are_refused(given, line):
    overrides = [KL, "reference_reset=prorl_v1", f"reference_reset.weights={given}"]
    assert refusal(_choose, *overrides) == line
