"""Every combination of the method groups composes, or is refused with a sentence."""

import itertools
from pathlib import Path

import pytest

pytestmark = pytest.mark.verl

CONFIGS = Path(__file__).parents[2] / "configs"
METHOD_GROUPS = (
    "strategy",
    "correction",
    "pruning",
    "clip",
    "group_filter",
    "reward_shaping",
    "kl_control",
    "reference_reset",
    "entropy_control",
    "length_schedule",
)


def _options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONFIGS / group).glob("*.yaml"))


def _composed_with(base, group: str, option: str):
    """What Hydra makes of one more override, without its second of work."""
    from omegaconf import OmegaConf

    return OmegaConf.merge(base, OmegaConf.load(CONFIGS / group / f"{option}.yaml"))


def _must_be_refused(chosen: dict[str, str]) -> bool:
    """The rules in words: verl's own trainers know no method, a reset needs a reference."""
    methods = ("pruning", "group_filter", "reward_shaping", "kl_control", "entropy_control",
               "length_schedule")  # fmt: skip
    stock = chosen["strategy"].startswith("verl_")
    return (
        (stock and chosen["correction"] != "none")
        or (stock and any(chosen[group] != "none" for group in methods))
        or (chosen["reference_reset"] != "none" and chosen["kl_control"] == "none")
    )


def _does_nothing(chosen: dict[str, str]) -> bool:
    """What only the whole check refuses: rescoring by stage where nothing is partial."""
    partial = chosen["strategy"] in ("copris", "naive_partial", "oversample")
    return chosen["correction"] == "stage" and not partial


@pytest.mark.slow
def test_every_combination_is_typed_or_refused_with_a_sentence(entered):
    """62,208 of them at the time of writing: the choices are read once, then combined."""
    import dataclasses

    from copris_core.verl_adapter.door import parse
    from copris_core.verl_adapter.errors import ConfigError

    base, run = entered("correction=none")
    typed = {group: _typed(base, group) for group in METHOD_GROUPS}
    for names in itertools.product(*typed.values()):
        chosen = dict(zip(METHOD_GROUPS, names, strict=True))
        changes = {
            group: typed[group][name] for group, name in chosen.items() if group in TYPED_FIELDS
        }
        changes["shaping"] = changes.pop("reward_shaping")
        try:
            prolonged = dataclasses.replace(run.prolonged, **_prolonged(typed, chosen))
            dataclasses.replace(run, prolonged=prolonged, **changes)
            refusal = None
        except ConfigError as error:
            refusal = str(error)
        assert (refusal is not None) == _must_be_refused(chosen), chosen
        assert refusal is None or _is_a_sentence(refusal), refusal
    assert parse(base) == run


TYPED_FIELDS = ("strategy", "correction", "pruning", "clip", "group_filter", "reward_shaping")


def _typed(base, group: str) -> dict[str, object]:
    """The typed value of each option of a group."""
    from copris_core.verl_adapter import prolonged_config
    from copris_core.verl_adapter.door import parse

    found = {}
    for option in _options(group):
        cfg = _composed_with(base, group, option)
        if group == "reference_reset":
            cfg = _composed_with(cfg, "kl_control", "fixed")
            found[option] = prolonged_config.prolonged_choice(cfg).reset
        elif group in ("kl_control", "entropy_control", "length_schedule"):
            found[option] = prolonged_config.prolonged_choice(cfg)
        elif group in ("group_filter", "reward_shaping"):
            run = parse(cfg)
            found[option] = run.group_filter if group == "group_filter" else run.shaping
        else:
            if group == "strategy" and option.startswith("verl_"):
                cfg = _composed_with(cfg, "correction", "none")
            found[option] = getattr(parse(cfg), group)
    return found


def _prolonged(typed: dict[str, dict[str, object]], chosen: dict[str, str]) -> dict[str, object]:
    kl = typed["kl_control"][chosen["kl_control"]]
    return {
        "kl_name": kl.kl_name,
        "kl_estimator": kl.kl_estimator,
        "kl": kl.kl,
        "reset": typed["reference_reset"][chosen["reference_reset"]],
        "entropy": typed["entropy_control"][chosen["entropy_control"]].entropy,
        "length": typed["length_schedule"][chosen["length_schedule"]].length,
    }


@pytest.mark.slow
def test_every_pair_of_options_passes_the_whole_check_or_is_refused(entered):
    """Through the door and ``copris check``, with the files on disk; one compose, many merges."""
    from copris_core.verl_adapter.check import check
    from copris_core.verl_adapter.door import derive, parse
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.overrides import compose

    small = ["correction=none", "task.rows=8", "task.val_rows=2"]
    base, plain = compose(small), dict.fromkeys(METHOD_GROUPS, "none")
    plain |= {"strategy": "sync", "clip": "symmetric"}
    pairs = itertools.combinations(METHOD_GROUPS, 2)
    for first, second in pairs:
        for one, other in itertools.product(_options(first), _options(second)):
            chosen = plain | {first: one, second: other}
            cfg = _composed_with(_composed_with(base, first, one), second, other)
            try:
                run = parse(cfg)
                check(run, derive(cfg, run))
                refusal = None
            except ConfigError as error:
                refusal = str(error)
            expected = _must_be_refused(chosen) or _does_nothing(chosen)
            assert (refusal is not None) == expected, chosen
            assert refusal is None or _is_a_sentence(refusal), refusal


def _is_a_sentence(line: str) -> bool:
    """One line that names a key and says the mend."""
    mends = ("add ", "set ", "remove", "use ", "lower", "raise")
    return "\n" not in line and len(line) > 40 and any(mend in line for mend in mends)


@pytest.mark.parametrize(
    "experiment",
    [
        "grpo", "copris", "cppo", "prorl", "dapo", "copris_cppo", "copris_prorl", "copris_dapo",
        "cppo_dapo", "copris_cppo_prorl_dapo",
    ],
)  # fmt: skip
def test_every_stack_passes_the_check_and_is_what_its_name_says(entered, experiment):
    from copris_core.verl_adapter.check import check

    cfg, run = entered(f"experiment={experiment}")
    check(run, cfg)
    parts = experiment.split("_")
    assert (run.strategy.name == "copris") == ("copris" in parts)
    assert (run.pruning.name == "cppo") == ("cppo" in parts)
    assert (run.prolonged.reset is not None) == ("prorl" in parts)
    assert (run.prolonged.kl is not None) == ("prorl" in parts)
    assert (run.shaping is not None) == ("dapo" in parts)
    assert (run.group_filter is not None) == ("dapo" in parts or "prorl" in parts)
    high = 0.4 if "prorl" in parts else 0.28 if "dapo" in parts else 0.2
    assert cfg.actor_rollout_ref.actor.clip_ratio_high == high
    temperature = 1.2 if "prorl" in parts else 1.0
    assert cfg.actor_rollout_ref.rollout.temperature == temperature
