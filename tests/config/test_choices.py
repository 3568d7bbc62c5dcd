"""Typed choices refuse contradictions without Hydra, verl or a file."""

import dataclasses
from pathlib import Path

import pytest

from copris_core.controllers.length_schedule import ConstantLength
from copris_core.losses.policy import Clip
from copris_core.pruning import PruningConfig
from copris_core.verl_adapter.batch_plan import BatchPlan
from copris_core.verl_adapter.config import (
    ClipChoice,
    CorrectionConfig,
    PlatformChoice,
    PolicyChoice,
    PruningChoice,
    RunConfig,
    StalenessConfig,
    StrategyConfig,
    TaskChoice,
)
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.prolonged_config import (
    FilterChoice,
    ProlongedChoice,
    ShapingChoice,
)

SHORT = ConstantLength(tokens=9)
PLAIN = ProlongedChoice(
    kl_name="none", kl_estimator=None, kl=None, reset=None, entropy=None, length=None
)


def _run(**changes: object) -> RunConfig:
    plan = BatchPlan(
        prompts=2, group_size=2, trained_rows=4, mini_batches=1, epochs=1, steps=7, devices=1,
        concurrency=None,
    )  # fmt: skip
    fields = {
        "experiment_name": "grpo",
        "seed": 0,
        "run_root": Path("runs"),
        "run_dir": None,
        "record_trajectories": False,
        "engine_log": False,
        "weight_sync_timeout_s": 600,
        "strategy": StrategyConfig(name="sync", concurrency=None),
        "staleness": StalenessConfig(max_lag=None, when_exceeded="wait"),
        "correction": CorrectionConfig(name="none"),
        "pruning": PruningChoice(name="none", rule=None),
        "clip": ClipChoice(name="symmetric", bounds=Clip(low=0.2, high=0.2, dual=3.0)),
        "group_filter": None,
        "shaping": None,
        "prolonged": PLAIN,
        "method": None,
        "task": TaskChoice(name="days", options={}),
        "policy": PolicyChoice(name="hf", path=Path("model")),
        "platform": PlatformChoice(name="cpu", devices=1),
        "plan": plan,
    }
    return RunConfig(**(fields | changes))


@pytest.mark.parametrize(
    ("name", "concurrency", "line"),
    [
        (
            "sync",
            8,
            "strategy.concurrency=8 does nothing with strategy=sync: add strategy=copris, or "
            "remove it",
        ),
        ("copris", None, "strategy=copris needs strategy.concurrency: set it to 1 or more"),
        ("copris", 0, "strategy.concurrency=0 samples nothing: set it to 1 or more"),
        (
            "async",
            None,
            "strategy=async is unknown: use one of sync, copris, naive_partial, oversample, "
            "verl_sync, verl_colocate_async",
        ),
    ],
)
def test_a_strategy_without_its_concurrency_is_refused(name, concurrency, line):
    with pytest.raises(ConfigError) as refusal:
        StrategyConfig(name=name, concurrency=concurrency)
    assert str(refusal.value) == line


@pytest.mark.parametrize(
    ("name", "keys", "line"),
    [
        ("oversample", {}, "strategy=oversample needs strategy.oversample_factor: APRIL uses 2"),
        (
            "oversample",
            {"oversample_factor": 1.0},
            "strategy.oversample_factor=1.0 samples no more: set it above 1",
        ),
        (
            "oversample",
            {"oversample_factor": 2.0, "concurrency": 8},
            "strategy.concurrency=8 does nothing with strategy=oversample: add strategy=copris, "
            "or remove it",
        ),
        (
            "naive_partial",
            {"concurrency": 8, "limit": "adaptive"},
            "strategy.limit=adaptive does nothing with strategy=naive_partial: add "
            "strategy=copris, or remove it",
        ),
        (
            "sync",
            {"resume_kv": "keep"},
            "strategy.resume_kv=keep does nothing with strategy=sync: add strategy=copris, or "
            "remove it",
        ),
        (
            "sync",
            {"park": False},
            "strategy.park=False does nothing with strategy=sync: add strategy=copris, or remove "
            "it",
        ),
        (
            "verl_colocate_async",
            {"concurrency": 8},
            "strategy.concurrency=8 does nothing with strategy=verl_colocate_async: add "
            "strategy=copris, or remove it",
        ),
        (
            "copris",
            {"concurrency": 8, "limit": "adaptive"},
            "strategy.staleness_cap=None bounds nothing: set it above 0",
        ),
        (
            "copris",
            {"concurrency": 8, "limit": "best"},
            "strategy.limit=best is unknown: use one of fixed, adaptive",
        ),
        (
            "copris",
            {"concurrency": 8, "resume_kv": "swap"},
            "strategy.resume_kv=swap is unknown: use one of recompute, keep",
        ),
    ],
)
def test_a_strategy_with_the_wrong_keys_is_refused(name, keys, line):
    with pytest.raises(ConfigError) as refusal:
        StrategyConfig(name=name, **{"concurrency": None, **keys})
    assert str(refusal.value) == line


def test_a_strategy_says_how_many_are_in_flight():
    april = StrategyConfig(name="oversample", concurrency=None, oversample_factor=1.5)
    assert april.in_flight(4, 8) == 48
    adaptive = StrategyConfig(name="copris", concurrency=32, limit="adaptive", staleness_cap=2.0)
    assert (adaptive.in_flight(4, 8), adaptive.most_in_flight(4, 8)) == (32, 64)


@pytest.mark.parametrize(
    ("name", "passes_our_gate", "is_verls_own"),
    [
        ("sync", False, False),
        ("copris", True, False),
        ("verl_sync", False, True),
        ("verl_colocate_async", False, True),
    ],
)
def test_verls_own_trainers_are_told_from_ours(name, passes_our_gate, is_verls_own):
    choice = StrategyConfig(name=name, concurrency=8 if passes_our_gate else None)
    assert (choice.is_partial, choice.is_stock) == (passes_our_gate, is_verls_own)


@pytest.mark.parametrize("name", ["verl_sync", "verl_colocate_async"])
@pytest.mark.parametrize(
    ("group", "method"),
    [
        ("correction", {"correction": CorrectionConfig(name="cross_stage")}),
        (
            "pruning",
            {"pruning": PruningChoice(name="cppo", rule=PruningConfig(pruning_rate=0.5))},
        ),
        ("group_filter", {"group_filter": FilterChoice(max_batches=1, when_exceeded="keep")}),
        ("reward_shaping", {"shaping": ShapingChoice(truncated_factor=0.0)}),
        ("kl_control", {"prolonged": dataclasses.replace(PLAIN, kl_name="fixed", kl=0.1)}),
        ("length_schedule", {"prolonged": dataclasses.replace(PLAIN, length=SHORT)}),
    ],
)
def test_verls_own_trainers_take_no_method_of_ours(name, group, method):
    with pytest.raises(
        ConfigError, match=rf"^strategy={name} is verl's own trainer.*: add {group}=none$"
    ):
        _run(strategy=StrategyConfig(name=name, concurrency=None), **method)


def test_a_bound_on_staleness_is_refused_where_nothing_is_stale():
    with pytest.raises(ConfigError, match=r"max_lag=2 does nothing with strategy=sync"):
        _run(staleness=StalenessConfig(max_lag=2, when_exceeded="wait"))
    with pytest.raises(ConfigError, match=r"max_lag=-1 is negative"):
        StalenessConfig(max_lag=-1, when_exceeded="wait")
    with pytest.raises(ConfigError, match=r"when_exceeded=skip is unknown: use one of wait, drop"):
        StalenessConfig(max_lag=1, when_exceeded="skip")


def test_one_response_in_flight_is_allowed():
    assert StrategyConfig(name="copris", concurrency=1).concurrency == 1


@pytest.mark.parametrize("kind", [CorrectionConfig, PruningChoice, PlatformChoice])
def test_an_unknown_name_is_refused_with_the_known_ones(kind):
    needed = {"PruningChoice": {"rule": None}, "PlatformChoice": {"devices": 1}}
    with pytest.raises(ConfigError, match=r"=typo is unknown: use one of (\w+, )+\w+$"):
        kind(name="typo", **needed.get(kind.__name__, {}))


def test_pruning_by_group_keeps_as_many_of_each_group():
    # n = 8, P = 1/2: 4 of 8, 16 groups: 64 rows. P = 0.9: floor(.8) = 0, but one row always stays.
    half = PruningChoice(name="cppo", rule=PruningConfig(pruning_rate=0.5))
    most = PruningChoice(name="cppo", rule=PruningConfig(pruning_rate=0.9))
    assert half.trained_rows(16, 8) == 64
    assert most.trained_rows(16, 8) == 16


def test_pruning_by_batch_keeps_of_all_rows_at_once():
    # 128 rows, P = 0.9: floor(12.8) = 12.
    choice = PruningChoice(name="cppo", rule=PruningConfig(pruning_rate=0.9, scope="batch"))
    assert choice.trained_rows(16, 8) == 12


def test_allocation_draws_what_pruning_takes_away():
    # 16 / (1 - 3/4) = 64 prompts x 8 = 512 samples, a quarter of which are 128 = 16 x 8 rows.
    rule = PruningConfig(pruning_rate=0.75, allocation=True)
    choice = PruningChoice(name="cppo", rule=rule)
    assert choice.drawn_prompts(16) == 64
    assert choice.trained_rows(64, 8) == 128


def test_without_allocation_as_many_prompts_are_drawn():
    rule = PruningConfig(pruning_rate=0.75)
    assert PruningChoice(name="cppo", rule=rule).drawn_prompts(16) == 16
    assert PruningChoice(name="none", rule=None).drawn_prompts(16) == 16
    assert PruningChoice(name="none", rule=None).trained_rows(16, 8) == 128


@pytest.mark.parametrize(
    ("name", "rule", "line"),
    [
        (
            "none",
            PruningConfig(pruning_rate=0.5),
            "pruning.pruning_rate=0.5 does nothing with pruning=none: add pruning=cppo, or "
            "remove it",
        ),
        ("cppo", None, "pruning=cppo needs pruning.pruning_rate: the paper uses 0.5"),
    ],
)
def test_a_name_and_a_rule_that_disagree_are_refused(name, rule, line):
    with pytest.raises(ConfigError) as refusal:
        PruningChoice(name=name, rule=rule)
    assert str(refusal.value) == line


def test_an_allocation_that_is_not_whole_is_refused_with_rates_that_are():
    rule = PruningConfig(pruning_rate=0.3, allocation=True)
    with pytest.raises(ConfigError, match=r"^pruning\.allocation: .* set pruning_rate to 3/11"):
        PruningChoice(name="cppo", rule=rule).drawn_prompts(16)


@pytest.mark.parametrize("name", ["", "a/b", "..", "my run", "[bold]"])
def test_an_experiment_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(ConfigError, match=r"names a folder: use letters, digits, _, - and \."):
        _run(experiment_name=name)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed=-1 is negative: set it to 0 or more"):
        _run(seed=-1)


def test_the_run_is_as_long_as_its_plan():
    assert _run().total_steps == 7
