import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from copris_core.report.compare import VERSION, compare
from copris_core.report.notes import notes
from copris_core.report.ratios import SPEEDUPS, labels, speedup
from copris_core.report.summary import Accuracy, Phases, Summary
from tests.report.compare_house import method_of, run_of, settings_of

Make = Callable[..., Summary]

PHASES = Phases(generate=80, old_log_prob=None, ref=None, update=40, weight_sync=None, other=40)


def _pair(make: Make, **changes: object) -> list[Summary]:
    """A baseline of 10 steps, and the same run under another name with fields replaced."""
    base = make(
        steps=10,
        wall_s=200.0,
        phases=PHASES,
        samples=800,
        generated_tokens=8000,
        trained_tokens=8000,
        samples_per_s=10.0,
        samples_per_s_steady=10.0,
        optimizer_updates=20,
        accuracy=Accuracy(before=0.2, after=0.8, n=200, stderr=0.028),
    )
    return [base, replace(base, experiment="copris", **changes)]


def _said(runs: list[Summary]) -> str:
    return "\n".join(notes(runs))


def test_the_report_is_json_of_a_named_version_with_all_its_parts() -> None:
    pruned = run_of(experiment="cppo", config=settings_of(pruning_rate=0.5))
    methods = [method_of("grpo", run_of()), method_of("cppo", pruned)]
    report = json.loads(json.dumps(compare(methods, notes=["x"], tables=[]), allow_nan=False))
    assert report["version"] == VERSION
    assert report["baseline"] == "grpo"
    assert [x["label"] for x in report["methods"]] == ["grpo", "cppo"]
    [run] = report["methods"][1]["runs"]
    assert Summary.from_json(run["summary"]) == pruned.summary
    assert set(run["speedup"]) == set(SPEEDUPS)
    assert run["folder"] == "cppo/seed_0"
    assert report["methods"][1]["pruning"]["kept"] == "4"
    assert set(report["against"]) == {"cppo"}
    assert report["against"]["cppo"]["steps_wall"]["estimate"] == pytest.approx(1.0)
    assert set(report["equal"]) == {"updates", "trained", "tokens", "seconds", "prompts"}
    assert report["equal"]["updates"]["amount"] == 8
    point = report["equal"]["updates"]["methods"]["cppo"]["0"]
    assert point["accuracy"] == pytest.approx(0.9)
    assert point["spent"]["seconds"] == pytest.approx(40)
    assert report["time_to_accuracy"]["accuracy"] == pytest.approx(0.9)
    assert [x["label"] for x in report["fewer_updates"]] == ["cppo"]
    assert report["notes"] == ["x"]


def test_ratios_by_hand(make_summary: Make) -> None:
    # Half the steps, so that every ratio of seconds must be taken per step:
    # generate 80/10 = 8 against 20/5 = 4; update 4 against 8; all phases 16 against 80/5 = 16;
    # wall 20 against 150/5 = 30; tokens/s 8000/80 = 100 against 3000/20 = 150;
    # samples per second of all phases 800/160 = 5 against 600/80 = 7.5.
    phases = replace(PHASES, generate=20, update=40, other=20)
    runs = _pair(
        make_summary,
        steps=5,
        phases=phases,
        wall_s=150.0,
        samples=600,
        generated_tokens=3000,
        samples_per_s=30.0,
        samples_per_s_steady=25.0,
    )
    assert speedup(runs[1], runs[0]) == pytest.approx(
        {
            "samples_per_s": 3.0,
            "samples_per_s_steady": 2.5,
            "tokens_per_s": 1.5,
            "wall": 2 / 3,
            "steps_wall": 1.0,
            "samples_wall": 1.5,
            "generate_s": 2.0,
            "update_s": 0.5,
        }
    )


def test_a_rate_is_judged_without_the_first_steps_in_which_the_first_run_warms_up_for_all(
    make_summary: Make,
) -> None:
    said = _said(_pair(make_summary, samples_per_s=13.0, samples_per_s_steady=7.0))
    assert "finished FEWER samples per second of generation: 0.70x grpo's without" in said
    assert "without the first 2 steps, 1.30x with them." in said


def test_a_slower_method_is_called_slower(make_summary: Make) -> None:
    rates = {"samples_per_s": 9.0, "samples_per_s_steady": None}
    runs = _pair(make_summary, wall_s=215.0, phases=replace(PHASES, other=60), **rates)
    said = _said(runs)
    assert "copris was SLOWER than grpo in wall time: 0.89x per training step, 0.93x" in said
    assert "copris finished FEWER samples per second of generation: 0.90x grpo's." in said
    assert "faster" not in said


def test_a_faster_method_is_called_faster(make_summary: Make) -> None:
    said = _said(_pair(make_summary, wall_s=100.0, phases=replace(PHASES, generate=20)))
    assert "copris was faster than grpo in wall time: 1.60x per training step, 2.00x" in said
    assert "SLOWER" not in said


def test_faster_steps_in_a_slower_run_are_told_apart(make_summary: Make) -> None:
    said = _said(_pair(make_summary, wall_s=250.0, phases=replace(PHASES, generate=40)))
    assert "copris was faster than grpo per training step but SLOWER than it overall" in said


def test_a_lower_accuracy_is_called_lower_only_beyond_the_interval(make_summary: Make) -> None:
    def after(rate: float) -> str:
        accuracy = Accuracy(before=0.2, after=rate, n=200, stderr=0.03)
        return _said(_pair(make_summary, accuracy=accuracy))

    assert "copris ended LOWER in accuracy than grpo: 0.600 against 0.800" in after(0.6)
    assert "copris ended higher in accuracy than grpo: 0.950 against 0.800" in after(0.95)
    # Two binomial errors of 0.03 leave about 0.08 either way.
    assert "The accuracies of copris and grpo can't be told apart: 0.760" in after(0.76)
    assert "LOWER" not in after(0.76)


def test_training_that_raised_nothing_is_said_of_the_baseline_too(make_summary: Make) -> None:
    runs = _pair(make_summary)
    runs[0] = replace(runs[0], accuracy=Accuracy(before=0.5, after=0.52, n=200, stderr=0.03))
    said = _said(runs)
    assert "grpo did NOT clearly raise accuracy: 0.500 to 0.520." in said
    assert "copris did NOT" not in said


def test_unequal_work_is_said(make_summary: Make) -> None:
    said = _said(
        _pair(make_summary, samples=1600, trained_tokens=4000, optimizer_updates=10, steps=10)
    )
    assert "At equal steps copris finished 2.00x the samples of grpo" in said
    assert "at equal samples its training steps ran at 2.00x the speed" in said
    assert "At equal steps copris trained on 0.50x the tokens of grpo." in said
    assert "copris generated 0.50x the tokens of grpo for each finished sample" in said
    assert "copris made 10 optimizer updates, grpo 20." in said


def test_equal_work_is_not_remarked_on(make_summary: Make) -> None:
    assert len(notes(_pair(make_summary))) == 3
    assert notes(_pair(make_summary)[:1]) == []


def test_a_wide_gap_is_said(make_summary: Make) -> None:
    assert "differ by up to 2.0e-04, MORE than 1e-04" in _said(
        _pair(make_summary, max_logprob_gap=2e-4)
    )
    assert "log-prob gap was not measured" in _said(_pair(make_summary, max_logprob_gap=None))


def test_nothing_is_made_up_where_nothing_was_measured(make_summary: Make) -> None:
    unknown = Phases(
        generate=None, old_log_prob=None, ref=None, update=None, weight_sync=None, other=None
    )
    runs = _pair(
        make_summary,
        phases=unknown,
        samples=None,
        generated_tokens=None,
        trained_tokens=None,
        samples_per_s=None,
        optimizer_updates=None,
        accuracy=Accuracy(before=None, after=None, n=None, stderr=None),
    )
    ratios = speedup(runs[1], runs[0])
    assert {key for key, x in ratios.items() if x is not None} == {"wall", "samples_per_s_steady"}
    said = _said(runs)
    assert "copris and grpo can't be compared in wall time" in said
    assert "can't be compared in samples per second" in said
    assert "The accuracies of copris and grpo can't be compared" in said
    assert "copris: accuracy was not measured both before and after training." in said
    assert "an unknown number of optimizer updates" in said


def test_runs_of_one_experiment_keep_names_of_their_own(make_summary: Make) -> None:
    seeds = [make_summary(seed=1), make_summary(seed=2)]
    assert labels(seeds) == ["grpo seed 1", "grpo seed 2"]
    assert labels([*seeds, seeds[0]]) == ["grpo seed 1 #1", "grpo seed 2 #2", "grpo seed 1 #3"]
    assert labels([seeds[0], make_summary("cppo")]) == ["grpo", "cppo"]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        compare([], notes=[], tables=[])
