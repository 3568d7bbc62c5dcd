"""What the first sentences say, and that they do not flatter."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from copris_core.report.audit import Audit, Repeated
from copris_core.report.compared import Method, RunData
from copris_core.report.headline import cards, headline
from tests.report.compare_house import method_of, run_of

SECONDS = (10.0, 10.0, 10.0, 10.0)


def _paced(label: str, *paces: float, ends: Sequence[float] = ()) -> Method:
    """A run a pace: its steps take ``10 / pace`` seconds; ``ends`` are final accuracies."""
    final = ends or [0.9] * len(paces)
    runs = [
        run_of(
            seed=seed,
            experiment=label,
            seconds=[x / pace for x in SECONDS],
            validations={0: 0.1, 4: end},
        )
        for seed, (pace, end) in enumerate(zip(paces, final, strict=True))
    ]
    return method_of(label, *runs)


def _said(*methods: Method) -> str:
    return " ".join(headline(methods))


def _unmeasured(run: RunData) -> RunData:
    phases = replace(run.summary.phases, other=None)
    accuracy = replace(run.summary.accuracy, after=None, n=None, stderr=None)
    return replace(run, summary=replace(run.summary, phases=phases, accuracy=accuracy))


def test_the_fastest_is_named_with_its_ratio_and_its_one_seed() -> None:
    said = _said(_paced("grpo", 1.0), _paced("copris", 2.0), _paced("cppo", 1.5))
    assert said.startswith(
        "copris was the fastest: 2.00 times as many training steps per second (one seed) as grpo."
    )


def test_of_two_the_other_is_faster_not_fastest() -> None:
    assert _said(_paced("grpo", 1.0), _paced("copris", 2.0)).startswith("copris was faster: 2.00")


def test_a_slower_method_is_not_called_fast() -> None:
    assert _said(_paced("grpo", 1.0), _paced("copris", 0.5)).startswith(
        "copris made 0.50 times as many training steps per second (one seed) as grpo."
    )
    said = _said(_paced("grpo", 1.0), _paced("copris", 0.5), _paced("cppo", 0.8))
    assert said.startswith("None was faster than grpo: cppo made 0.80 times")


def test_a_ratio_over_seeds_has_an_interval() -> None:
    said = _said(_paced("grpo", 1.0, 1.0, 1.0), _paced("copris", 2.0, 2.1, 2.2))
    assert said.startswith("copris was faster: 2.10 times")
    assert "(95% interval 1.86 to 2.36 over 3 seeds)" in said


def test_a_ratio_whose_interval_holds_1_may_be_chance() -> None:
    said = _said(_paced("grpo", 1.0, 1.0), _paced("copris", 1.1, 1.6))
    assert said.startswith("copris seemed faster: 1.33 times")
    assert "as grpo, which may be chance." in said


def test_a_small_difference_of_accuracy_is_not_told_apart() -> None:
    said = _said(_paced("grpo", 1.0, ends=[0.9]), _paced("copris", 1.0, ends=[0.92]))
    assert "can't be told apart: grpo (0.900), copris (0.920)." in said


def test_a_clear_loss_of_accuracy_is_said_loudly() -> None:
    said = _said(
        _paced("grpo", 1.0, ends=[0.9]),
        _paced("copris", 1.0, ends=[0.5]),
        _paced("cppo", 1.0, ends=[0.9]),
    )
    assert "against grpo (0.900): copris ended LOWER by 0.400 (95% interval -0.4" in said
    assert "cppo ended" not in said
    assert "One seed: the intervals are of the validation rows alone" in said


def test_the_caution_of_one_seed_is_not_given_over_several() -> None:
    ends = [0.9, 0.92, 0.91], [0.5, 0.55, 0.52]
    said = _said(*(_paced(x, 1.0, 1.0, 1.0, ends=e) for x, e in zip("ab", ends, strict=True)))
    assert "ended LOWER" in said
    assert "One seed" not in said


def test_seeds_that_agree_exactly_are_no_proof() -> None:
    said = _said(_paced("grpo", 1.0, 1.0, ends=[0.9, 0.9]), _paced("b", 1.0, 1.0, ends=[0.92] * 2))
    assert "can't be told apart" in said


def test_many_methods_are_not_all_named() -> None:
    said = _said(*(_paced(name, 1.0) for name in "abcdef"))
    assert said.endswith("a (0.900), b (0.900), c (0.900), and 3 more.")


def test_what_was_not_measured_is_not_compared() -> None:
    mute = method_of("copris", _unmeasured(run_of()))
    said = _said(_paced("grpo", 1.0), mute)
    assert "No other method can be compared with grpo in time" in said
    assert "accuracies can't be compared: not both were measured" in said
    [_, card] = cards([_paced("grpo", 1.0), mute])
    assert (card.accuracy, card.step_s, card.pace) == ("-", "-", "-")


def test_one_method_alone_is_told_of() -> None:
    assert headline([_paced("grpo", 1.0)]) == (
        "grpo took 4 training steps of 10.00 s, and its held-out accuracy went from 0.100 to "
        "0.900 (one seed).",
    )


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one finished run"):
        headline([])


def _audited(run: RunData, lost: dict[str, str]) -> RunData:
    repeated = Repeated(lines=0, finished=0, tokens=0, trained=0)
    audit = Audit(
        groups={}, responses={}, lost=lost, duplicated={}, restarts=0, continued_tokens=0,
        continued_over_restarts=(), repeated=repeated, lengths={}, length_bias=None,
    )  # fmt: skip
    return replace(run, audit=audit)


def test_a_card_has_the_means_and_what_the_ledger_proves() -> None:
    grpo, copris = _paced("grpo", 1.0, 1.0, ends=[0.8, 0.9]), _paced("copris", 2.0, 2.0)
    bad = replace(copris, runs=tuple(_audited(x, {"u1": "gone"}) for x in copris.runs))
    good = replace(copris, runs=tuple(_audited(x, {}) for x in copris.runs))
    first, second, third = cards([grpo, bad, good])
    assert (first.accuracy, first.before, first.step_s) == ("0.850", "0.100", "10.00")
    assert (first.pace, first.seeds, first.ledger) == ("baseline", "2 seeds", "no ledger")
    assert (second.pace, second.ledger, second.is_sound) == ("2.00x", "2 LOST or TWICE", False)
    assert (third.ledger, third.is_sound) == ("sound", True)
