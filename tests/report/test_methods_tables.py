"""The tables of the report over methods and seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from copris_core.report.compared import Table
from copris_core.report.methods_stats import difference, show_difference, show_over, times
from copris_core.report.methods_tables import tables
from tests.report.compare_house import method_of, run_of, settings_of


def _by_title(*methods) -> dict[str, Table]:
    return {table.title: table for table in tables(methods)}


def _row(table: Table, name: str) -> list[str]:
    [row] = [list(x[1:]) for x in table.rows if x[0] == name]
    return row


def _two_seeds():
    base = method_of(
        "grpo",
        run_of(seed=0, validations={0: 0.1, 4: 0.8}),
        run_of(seed=1, validations={0: 0.1, 4: 0.9}),
    )
    ours = method_of(
        "copris",
        run_of(seed=0, seconds=[5.0] * 4, validations={0: 0.1, 4: 0.81}),
        run_of(seed=1, seconds=[5.0] * 4, validations={0: 0.1, 4: 0.92}),
    )
    return base, ours


def test_every_row_is_as_long_as_its_header() -> None:
    for table in _by_title(*_two_seeds()).values():
        assert {len(row) for row in table.rows} == {len(table.header)}, table.title


def test_methods_are_columns_with_their_means_and_intervals() -> None:
    table = _by_title(*_two_seeds())["Methods"]
    assert table.header == ("", "grpo", "copris")
    assert _row(table, "seeds") == ["0, 1", "0, 1"]
    # 0.85 +- 12.7062 * 0.05 and 0.865 +- 12.7062 * 0.055, and no accuracy is above 1.
    assert _row(table, "accuracy after") == ["0.850 [0.215, 1.000]", "0.865 [0.166, 1.000]"]
    assert _row(table, "training seconds") == ["40.0", "20.0"]
    assert _row(table, "largest |engine - trainer| log-prob") == ["1.0e-06", "1.0e-06"]


def test_ratios_and_differences_are_paired_by_seed() -> None:
    table = _by_title(*_two_seeds())["Against grpo"]
    # +0.01 and +0.02: mean 0.015, half width 12.7062 * 0.005; unpaired it would be tenfold.
    assert _row(table, "accuracy after, difference") == ["+0.015 [-0.049, +0.079]"]
    assert _row(table, "training step (equal steps)") == ["2.00x [2.00, 2.00]"]


def test_one_gap_that_was_not_measured_hides_the_largest() -> None:
    blind = run_of(seed=1)
    blind = replace(blind, summary=replace(blind.summary, max_logprob_gap=None))
    table = _by_title(method_of("grpo", run_of(), blind))["Methods"]
    assert _row(table, "largest |engine - trainer| log-prob") == ["-"]


def test_staleness_is_shown_as_far_as_it_was_measured() -> None:
    lagging = run_of(**{"staleness/lag_mean": 1.5, "staleness/lag_max": 3.0})
    table = _by_title(method_of("grpo", run_of()), method_of("copris", lagging))["Staleness"]
    assert _row(table, "versions behind, mean") == ["-", "1.50"]
    assert _row(table, "versions behind, most") == ["-", "3"]
    assert len(table.rows) == 2
    assert "Staleness" not in _by_title(method_of("grpo", run_of()))


def test_only_differing_settings_are_listed() -> None:
    other = method_of("copris", run_of(config=settings_of(prompts=8)))
    table = _by_title(method_of("grpo", run_of()), other)["Config differences"]
    assert table.rows == (("data.train_batch_size", "4", "8"),)
    assert table.words
    assert "Config differences" not in _by_title(method_of("grpo", run_of()))


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        tables([])


def test_a_number_that_some_seeds_lack_says_so() -> None:
    assert show_over([0.5, None], 2) == "0.50 (1 of 2 seeds)"
    assert show_over([None, None], 2) == "-"
    assert show_over([3, 3], 0) == "3"


def test_an_interval_ends_where_its_number_cannot_be() -> None:
    assert show_over([1.0, 2.0], 1) == "1.5 [0.0, 7.9]"
    assert show_over([1.0, 2.0], 1, least=None, most=2) == "1.5 [-4.9, 2.0]"


def test_different_seeds_are_set_against_each_other_without_an_interval() -> None:
    found = difference({0: 0.8, 1: 0.9}, {2: 0.7})
    assert found is not None
    assert found.interval is None
    assert show_difference(found, 2) == "+0.15 (no common seed)"
    assert times({0: 1.0}, {0: 0.0}) is None
    assert times({}, {0: 1.0}) is None
