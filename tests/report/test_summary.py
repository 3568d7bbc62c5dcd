import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.report.run_folder import Row
from copris_core.report.summary import Summary, merge_steps, summarise

KEYS = {
    *("experiment", "seed", "steps", "optimizer_updates", "wall_s", "phases", "samples"),
    *("generated_tokens", "trained_tokens", "samples_per_s", "samples_per_s_steady"),
    *("occupancy", "concurrency", "segments_per_sample", "on_policy_token_fraction", "accuracy"),
    *("max_logprob_gap", "mean_logprob_gap", "packages", "revision"),
}


def _row(step: int, *numbers: float) -> Row:
    keys = (
        *("timing_s/generate", "timing_s/update", "timing_s/other"),
        *("samples/finished", "samples/trained", "tokens/generated", "tokens/trained"),
        *("rollout/occupancy", "staleness/segments_per_sample"),
        *("staleness/on_policy_token_fraction", "optimizer/updates"),
        *("logprob_gap/max", "logprob_gap/mean"),
    )
    return {"step": step, "time_s": 10.0 * step, **dict(zip(keys, numbers, strict=True))}


ROWS: list[Row] = [
    {"step": 0, "time_s": 5.0, "val/accuracy": 0.25, "val/n": 100},
    _row(1, 4, 2, 1, 8, 4, 80, 40, 0.5, 1.0, 1.0, 1, 1e-6, 1e-7),
    _row(2, 2, 2, 1, 6, 8, 100, 60, 0.8, 1.5, 0.5, 2, 3e-6, 3e-7),
    {
        **_row(3, 2, 1, 1, 10, 4, 60, 100, 1.0, 2.0, 0.2, 1, 2e-6, 2e-7),
        "val/accuracy": 0.75,
        "val/n": 100,
    },
]


def _summary(rows: list[Row], **changes: Any) -> Summary:
    known: dict[str, Any] = {
        "experiment": "copris",
        "seed": 7,
        "packages": {"verl": "0.9.1"},
        "revision": "abc",
        "concurrency": 64,
        "wall_s": 40.0,
    }
    return summarise(rows, **{**known, **changes})


def test_three_steps_by_hand() -> None:
    run = _summary(ROWS)
    assert (run.steps, run.optimizer_updates, run.wall_s) == (3, 4, 40.0)
    assert (run.phases.generate, run.phases.update, run.phases.other) == (8, 5, 3)
    assert run.phases.total_s == 16
    assert (run.samples, run.generated_tokens, run.trained_tokens) == (24, 240, 200)
    assert run.samples_per_s == pytest.approx(24 / 8)
    # The first two steps are warm-up: 10 samples in 2 s are left.
    assert run.samples_per_s_steady == pytest.approx(10 / 2)
    # (0.5 * 4 s + 0.8 * 2 s + 1.0 * 2 s) / 8 s
    assert run.occupancy == pytest.approx(0.7)
    # (1.0 * 4 + 1.5 * 8 + 2.0 * 4 responses) / 16
    assert run.segments_per_sample == pytest.approx(1.5)
    # (1.0 * 40 + 0.5 * 60 + 0.2 * 100 tokens) / 200
    assert run.on_policy_token_fraction == pytest.approx(0.45)
    assert (run.accuracy.before, run.accuracy.after, run.accuracy.n) == (0.25, 0.75, 100)
    # sqrt(0.75 * 0.25 / 100)
    assert run.accuracy.stderr == pytest.approx(0.0433013, abs=1e-7)
    assert run.max_logprob_gap == 3e-6
    assert run.mean_logprob_gap == pytest.approx(2e-7)


def test_summary_json_has_exactly_the_promised_keys() -> None:
    value = _summary(ROWS).to_json()
    assert set(value) == KEYS
    assert set(value["phases"]) == {
        *("generate", "old_log_prob", "ref", "update", "weight_sync", "other")
    }
    assert set(value["accuracy"]) == {"before", "after", "n", "stderr"}


def test_what_no_row_measured_is_null_and_never_zero() -> None:
    run = _summary([{"step": 1, "time_s": 3.0}, {"step": 2, "time_s": 6.0}], concurrency=None)
    given_keys = {"experiment", "seed", "steps", "wall_s", "packages", "revision"}
    value = run.to_json()
    assert run.steps == 2
    assert run.phases.total_s is None
    assert set(value.pop("phases").values()) == {None}
    assert set(value.pop("accuracy").values()) == {None}
    assert {key for key, x in value.items() if x is not None} == given_keys


def test_a_run_without_rows_sums_up_to_no_steps() -> None:
    run = _summary([])
    assert run.steps == 0
    assert run.samples_per_s is None


def test_a_step_that_lacks_a_number_is_left_out_of_rate_and_mean() -> None:
    rows = [dict(row) for row in ROWS]
    rows[2]["timing_s/generate"] = None
    del rows[3]["rollout/occupancy"]
    run = _summary(rows)
    # Steps 1 and 3 know samples and seconds: 18 in 6 s. Step 1 alone knows occupancy and seconds.
    assert run.samples_per_s == pytest.approx(18 / 6)
    assert run.occupancy == 0.5


def test_a_gap_that_was_not_a_number_makes_the_largest_unknown() -> None:
    rows = [dict(row) for row in ROWS]
    rows[1]["logprob_gap/max"] = None
    assert _summary(rows).max_logprob_gap is None
    assert _summary(rows).mean_logprob_gap == pytest.approx(2e-7)


def test_without_validation_at_step_zero_there_is_no_before() -> None:
    run = _summary(ROWS[1:])
    assert (run.accuracy.before, run.accuracy.after) == (None, 0.75)
    run = _summary(ROWS[:3])
    assert run.accuracy.before == 0.25
    assert (run.accuracy.after, run.accuracy.stderr, run.accuracy.n) == (None, None, 100)


def test_the_last_validation_counts_as_after() -> None:
    rows: list[Row] = [*ROWS, {"step": 4, "time_s": 50, "val/accuracy": 0.5, "val/n": 25}]
    accuracy = _summary(rows).accuracy
    assert (accuracy.after, accuracy.n, accuracy.stderr) == (0.5, 25, pytest.approx(0.1))


@given(st.permutations(range(4)))
def test_the_order_of_rows_does_not_matter(order: list[int]) -> None:
    assert _summary([ROWS[i] for i in order]) == _summary(ROWS)


def test_a_step_written_twice_counts_once_and_the_later_value_wins() -> None:
    validation: Row = {"step": 2, "time_s": 21.0, "val/accuracy": 0.6, "val/n": 100}
    repeated: Row = {"step": 3, "time_s": 33.0, "samples/finished": 12}
    steps = merge_steps([*ROWS, validation, repeated])
    assert [row["step"] for row in steps] == [0, 1, 2, 3]
    assert (steps[2]["val/accuracy"], steps[2]["tokens/trained"]) == (0.6, 60)
    assert _summary([*ROWS, validation, repeated]).samples == 26
    assert ROWS[3]["samples/finished"] == 10


def test_a_summary_survives_its_json() -> None:
    run = _summary(ROWS)
    assert Summary.from_json(json.loads(json.dumps(run.to_json()))) == run


def test_a_summary_with_wrong_keys_is_refused_by_name() -> None:
    value = replace(_summary(ROWS), revision=None).to_json()
    del value["samples"]
    with pytest.raises(ValueError, match=r"summary .*\['samples'\]"):
        Summary.from_json(value)
    value = _summary(ROWS).to_json()
    value["phases"]["nap"] = 1.0
    with pytest.raises(ValueError, match=r"phases .*\['nap'\]"):
        Summary.from_json(value)
