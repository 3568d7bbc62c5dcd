"""Equal updates, samples, tokens and seconds, on runs small enough to do by hand."""

from __future__ import annotations

import pytest

from copris_core.report.equal_curve import curve
from copris_core.report.equal_points import curves_of, equal_reading, time_to_accuracy
from copris_core.report.equal_tables import equal_tables, target_table
from tests.report.compare_house import method_of, run_of


def test_what_was_spent_rises_step_by_step_from_nothing() -> None:
    spent = curve(run_of(seconds=(1.0, 2.0, 3.0))).spent
    assert spent["seconds"] == (0, 1, 3, 6)
    assert spent["updates"] == (0, 2, 4, 6)
    assert spent["tokens"] == (0, 1000, 2000, 3000)
    assert spent["trained"] == (0, 8, 16, 24)
    assert spent["prompts"] == (0, 4, 8, 12)


def test_a_place_between_two_steps_is_found_and_read_on_the_straight_line() -> None:
    # Steps of 1, 2 and 3 s: 4.5 s lie half-way through the third. Validated at 0, 2 and 3.
    path = curve(run_of(seconds=(1, 2, 3), validations={0: 0.1, 2: 0.5, 3: 0.9}))
    place = path.place_of("seconds", 4.5)
    assert place == pytest.approx(2.5)
    point = path.at(2.5)
    assert point.accuracy == pytest.approx(0.7)
    assert point.spent["updates"] == pytest.approx(5)
    assert point.spent["seconds"] == pytest.approx(4.5)


def test_nothing_is_read_beyond_the_validations_or_the_run() -> None:
    path = curve(run_of(seconds=(1, 1, 1), validations={1: 0.4, 2: 0.5}))
    assert path.at(0.5).accuracy is None
    assert path.at(2.5).accuracy is None
    assert path.at(2.0).accuracy == pytest.approx(0.5)
    assert path.place_of("seconds", 3.01) is None


def test_a_currency_that_one_step_did_not_measure_is_unknown() -> None:
    run = run_of()
    del run.rows[2]["tokens/generated"]
    assert "tokens" not in curve(run).spent
    assert "seconds" in curve(run).spent


def test_prompts_are_unknown_where_a_filter_replaces_some() -> None:
    filtered = {"data": {"train_batch_size": 4}, "group_filter": {"name": "dapo"}}
    assert "prompts" not in curve(run_of(config=filtered)).spent
    assert "prompts" not in curve(run_of(config={})).spent


def test_the_reward_is_the_mean_of_the_whole_steps_up_to_the_place() -> None:
    rewards = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    path = curve(run_of(seconds=[1.0] * 7, rewards=rewards, validations={}))
    assert path.at(7).reward == pytest.approx(0.4)  # 0.2 ... 0.6
    assert path.at(2.9).reward == pytest.approx(0.05)
    assert path.at(0.5).reward is None


def test_all_methods_are_read_at_the_largest_amount_that_every_run_reached() -> None:
    slow = method_of("slow", run_of(seconds=(10, 10, 10, 10)))  # 40 s, 8 updates
    fast = method_of("fast", run_of(seconds=(5, 5, 5, 5)))  # 20 s, 8 updates
    curves = curves_of([slow, fast])
    by_seconds = equal_reading(curves, "seconds")
    assert by_seconds is not None
    assert by_seconds.amount == 20
    left, right = (each.points[0] for each in by_seconds.methods)
    assert left is not None
    assert right is not None
    # Half-way for the slow one: 0.1 + 0.8 / 2.
    assert (left.accuracy, right.accuracy) == pytest.approx((0.5, 0.9))
    assert (left.spent["updates"], right.spent["updates"]) == pytest.approx((4, 8))
    by_updates = equal_reading(curves, "updates")
    assert by_updates is not None
    assert by_updates.amount == 8
    assert [x.points[0].spent["seconds"] for x in by_updates.methods if x.points[0]] == [40, 20]


def test_a_short_run_of_one_seed_bounds_all_others() -> None:
    base = method_of("grpo", run_of(seed=0), run_of(seed=1, seconds=(10, 10)))
    reading = equal_reading(curves_of([base, method_of("copris", run_of())]), "updates")
    assert reading is not None
    assert reading.amount == 4


def test_who_did_not_measure_a_currency_has_hyphens_and_bounds_nobody() -> None:
    blind = run_of(seconds=(10,))
    del blind.rows[1]["tokens/generated"]
    reading = equal_reading(
        curves_of([method_of("grpo", run_of()), method_of("blind", blind)]), "tokens"
    )
    assert reading is not None
    assert reading.amount == 4000
    assert reading.methods[1].points == {0: None}


def test_the_time_to_accuracy_is_that_of_the_first_validation_that_is_good_enough() -> None:
    base = method_of("grpo", run_of(validations={0: 0.1, 2: 0.5, 4: 0.6}))
    quick = method_of("copris", run_of(seconds=(5, 5, 5, 5), validations={0: 0.1, 2: 0.7, 4: 0.5}))
    never = method_of("cppo", run_of(validations={0: 0.1, 4: 0.59}))
    reading = time_to_accuracy(curves_of([base, quick, never]))
    assert reading is not None
    assert reading.accuracy == pytest.approx(0.6)
    seconds = [x.values(lambda point: point.spent["seconds"]) for x in reading.methods]
    assert seconds == [[40], [10], [None]]
    [table] = target_table(curves_of([base, quick, never]))
    assert [row[1] for row in table.rows] == ["1 of 1 runs", "1 of 1 runs", "0 of 1 runs"]
    assert table.rows[2][2:] == ("-",) * 4


def test_the_target_is_the_mean_of_the_baselines_runs() -> None:
    base = method_of(
        "grpo",
        run_of(seed=0, validations={0: 0.1, 4: 0.5}),
        run_of(seed=1, validations={0: 0.1, 4: 0.7}),
    )
    [table] = target_table(curves_of([base]))
    assert table.title == "Time to accuracy 0.600"
    assert table.rows[0][1] == "1 of 2 runs"
    assert table.rows[0][5] == "40.0 (1 of 2 seeds)"


def test_the_tables_show_interval_difference_and_gain_over_two_seeds() -> None:
    base = method_of("grpo", *(run_of(seed=x) for x in (0, 1)))
    ours = method_of(
        "copris",
        run_of(seed=0, seconds=[5.0] * 4, validations={0: 0.1, 4: 0.95}),
        run_of(seed=1, seconds=[5.0] * 4, validations={0: 0.1, 4: 0.93}),
    )
    tables = {table.title: table for table in equal_tables(curves_of([base, ours]))}
    assert list(tables) == [
        "At equal optimizer updates: 8",
        "At equal trained samples: 32",
        "At equal generated tokens: 4,000",
        "At equal training seconds: 20.0",
    ]
    row = dict(zip(*_second(tables["At equal optimizer updates: 8"]), strict=True))
    # 0.94 +- 12.7062 * 0.01, which ends at 1, and +0.04 with the same half width.
    assert row["accuracy"] == "0.940 [0.813, 1.000]"
    assert row["against grpo"] == "+0.040 [-0.087, +0.167]"
    assert row["training seconds"] == "20.0"
    assert row["times cheaper in seconds"] == "2.00x [2.00, 2.00]"
    row = dict(zip(*_second(tables["At equal training seconds: 20.0"]), strict=True))
    assert row["trained samples"] == "32"
    assert row["times the samples"] == "2.00x [2.00, 2.00]"


def test_without_a_measured_currency_there_is_no_table() -> None:
    run = run_of()
    for row in run.rows:
        row.pop("optimizer/updates", None)
    titles = [x.title for x in equal_tables(curves_of([method_of("grpo", run)]))]
    assert not any("updates" in title for title in titles)
    assert len(titles) == 3


def _second(table) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return table.header, table.rows[1]
