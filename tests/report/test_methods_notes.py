"""What is said about methods over their seeds, and what is said to confound them."""

from __future__ import annotations

from dataclasses import replace

from copris_core.report.audit import audit
from copris_core.report.methods_notes import methods_notes
from copris_core.rollout.events import Event, Fact, LedgerEvent
from tests.report.compare_house import method_of, run_of, settings_of


def _said(*methods, **more) -> str:
    return "\n".join(methods_notes(methods, **more))


def _seeds(label: str, accuracies, *, seconds=10.0, **more):
    return method_of(
        label,
        *(
            run_of(seed=seed, seconds=[seconds] * 4, validations={0: 0.1, 4: rate}, **more)
            for seed, rate in enumerate(accuracies)
        ),
    )


def test_one_seed_is_said_to_have_no_interval() -> None:
    said = _said(method_of("grpo", run_of()), method_of("copris", run_of()))
    assert said.startswith("One seed each: no interval over seeds.")
    assert "Student" not in said


def test_the_seeds_and_the_kind_of_interval_are_named() -> None:
    said = _said(_seeds("grpo", (0.8, 0.9)), _seeds("copris", (0.8, 0.9)))
    assert said.startswith("Seeds: 0, 1. Intervals are Student's t at 95% over the seeds;")


def test_a_difference_within_its_interval_is_not_told_apart() -> None:
    said = _said(_seeds("grpo", (0.80, 0.90)), _seeds("copris", (0.85, 0.84)))
    assert "The accuracies of copris and grpo can't be told apart: difference -0.005 [" in said
    assert "LOWER" not in said


def test_a_difference_beyond_its_interval_is_called_by_its_name() -> None:
    base, lower = (0.80, 0.90, 0.85), (0.70, 0.81, 0.75)
    assert "copris ended LOWER in accuracy than grpo: -0.097 [" in _said(
        _seeds("grpo", base), _seeds("copris", lower)
    )
    assert "copris ended higher in accuracy than grpo: +0.097 [" in _said(
        _seeds("grpo", lower), _seeds("copris", base)
    )


def test_two_seeds_that_agree_to_the_last_digit_prove_nothing() -> None:
    said = _said(_seeds("grpo", (0.80, 0.90)), _seeds("copris", (0.83, 0.93)))
    assert "The accuracies of copris and grpo can't be told apart: difference +0.030 [" in said


def test_speed_is_judged_by_its_interval_too() -> None:
    fast = [_seeds("grpo", (0.8, 0.9)), _seeds("copris", (0.8, 0.9), seconds=5.0)]
    assert "copris was faster than grpo in seconds per training step: 2.00x" in _said(*fast)
    assert "grpo was SLOWER than copris in seconds per training step: 0.50x" in _said(*fast[::-1])
    uneven = method_of(
        "copris", run_of(seed=0, seconds=[5.0] * 4), run_of(seed=1, seconds=[12.0] * 4)
    )
    said = _said(fast[0], uneven)
    assert "copris and grpo can't be told apart in seconds per training step" in said


def test_training_that_raised_nothing_is_said() -> None:
    flat = _seeds("grpo", (0.1, 0.3))
    assert "grpo did NOT clearly raise accuracy" in _said(flat, _seeds("copris", (0.8, 0.81)))
    assert "copris did NOT" not in _said(flat, _seeds("copris", (0.8, 0.81)))


def test_another_batch_model_or_hardware_is_named_and_a_methods_own_key_is_not() -> None:
    other = settings_of(prompts=8) | {
        "policy": {"path": "b"}, "platform": {"devices": 2}, "strategy": {"name": "copris"},
    }  # fmt: skip
    base = settings_of() | {
        "policy": {"path": "a"}, "platform": {"devices": 1}, "strategy": {"name": "sync"},
    }  # fmt: skip
    said = _said(method_of("grpo", run_of(config=base)), method_of("copris", run_of(config=other)))
    assert (
        "Besides its method copris had other settings: data.train_batch_size=8 (not 4), "
        "platform.devices=2 (not 1), policy.path=b (not a)." in said
    )
    assert "strategy" not in said


def test_the_same_settings_twice_are_said_to_differ_by_chance() -> None:
    said = _said(method_of("grpo", run_of()), method_of("grpo #2", run_of()))
    assert "grpo #2 and grpo have the same settings: what differs is chance" in said


def test_runs_of_other_commits_packages_or_machines_are_named() -> None:
    new = run_of(revision="def", machine={"cpu": "b"})
    new = replace(new, summary=replace(new.summary, packages={"verl": "0.9.2"}))
    said = _said(method_of("grpo", run_of(machine={"cpu": "a"})), method_of("copris", new))
    for words in ("revisions of the source", "versions of the packages", "machines"):
        assert f"The runs come from different {words}: grpo seed 0; copris seed 0." in said
    unknown = run_of(machine={"cpu": "a"}), run_of(machine={})
    assert "different" not in _said(*(method_of(x, y) for x, y in zip("ab", unknown, strict=True)))


def test_seeds_without_a_pair_are_named() -> None:
    said = _said(_seeds("grpo", (0.8, 0.9, 0.85)), _seeds("copris", (0.8, 0.9)))
    assert "copris ran seeds 0, 1, grpo 0, 1, 2: paired are 0, 1." in said


def test_one_pair_is_no_proof_of_speed() -> None:
    fast = method_of("copris", run_of(seed=0, seconds=[5.0] * 4))
    assert (
        "copris was faster than grpo in seconds per training step: 2.00x, from less than two pairs"
        in _said(_seeds("grpo", (0.8, 0.9)), fast)
    )


def test_a_ledger_that_lost_something_is_named() -> None:
    drawn = LedgerEvent(seq=0, fact=Fact(event=Event.DRAWN, version=0, uid="a"))
    saved = LedgerEvent(seq=1, fact=Fact(event=Event.CHECKPOINT, version=0, step=1, live=()))
    bad = replace(run_of(), audit=audit([drawn, saved]))
    said = _said(method_of("grpo", run_of()), method_of("copris", bad))
    assert "copris, seed 0: the ledger shows 1 LOST and 0 done twice" in said


def test_failures_are_in_the_notes() -> None:
    said = _said(method_of("grpo", run_of()), failures=["copris, seed 1: out of memory"])
    assert said.endswith("No result: copris, seed 1: out of memory")
