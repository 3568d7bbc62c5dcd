"""The CPPO paper's table: both readings, and the effect of fewer updates told apart."""

from __future__ import annotations

import pytest

from copris_core.report.compared import Method
from copris_core.report.cppo_table import cppo_table, fewer_updates, pruning_facts
from copris_core.report.equal_points import curves_of
from copris_core.report.methods_notes import methods_notes
from tests.report.compare_house import method_of, run_of, settings_of

HALF = {"pruning_rate": 0.5, "allocation": True}


def _pair() -> list[Method]:
    """GRPO: 8 steps of 4 prompts in 10 s. Allocated: 4 steps of 8 prompts in 12 s.

    One pass over 32 prompts is 8 steps = 16 updates = 80 s, and 4 steps = 8 updates = 48 s.
    """
    base = method_of("grpo", run_of(seconds=[10.0] * 8))
    config = settings_of(prompts=8, **HALF)
    pruned = run_of(experiment="cppo_allocated", seconds=[12.0] * 4, config=config)
    return [base, method_of("cppo_allocated", pruned)]


def test_both_readings_stand_side_by_side() -> None:
    methods = _pair()
    [table] = cppo_table(methods, curves_of(methods))
    grpo, pruned = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert [pruned[x] for x in ("group size n", "pruning rate P", "kept k", "prompts a step")] == [
        "8", "0.5", "4", "8",
    ]  # fmt: skip
    assert [grpo[x] for x in ("pruning rate P", "kept k", "prompts a step")] == ["0", "8", "4"]
    assert pruned["time (s) at 32 prompts"] == "48.0"
    assert grpo["time (s) at 32 prompts"] == "80.0"
    assert pruned["updates"] == "8"
    # 8 updates are 40 s of the baseline and 48 s of the pruned run.
    assert grpo["time (s) at 8 updates"] == "40.0"
    assert pruned["time (s) at 8 updates"] == "48.0"
    ratios = [x for name, x in zip(table.header, table.rows[1], strict=True) if name == "ratio"]
    assert ratios == ["1.67x", "0.83x"]


def test_the_ratio_at_equal_prompts_is_the_one_at_equal_updates_times_the_fewer_updates() -> None:
    [found] = fewer_updates(curves_of(_pair()))
    assert found.by_updates is not None
    assert found.updates.estimate == pytest.approx(0.5)
    assert found.by_prompts.estimate == pytest.approx(80 / 48)
    assert found.by_prompts.estimate == pytest.approx(
        found.by_updates.estimate / found.updates.estimate
    )


def test_the_note_names_the_effect() -> None:
    said = "\n".join(methods_notes(_pair()))
    assert "cppo_allocated made FEWER optimizer updates than grpo at equal prompts: 0.50x." in said
    assert "Its time ratio there, 1.67x, holds a factor of 2.00 that is no speed" in said
    assert "at equal updates the ratio is 0.83x." in said


def test_pruning_without_allocation_is_said_to_train_as_often() -> None:
    pruned = run_of(config=settings_of(pruning_rate=0.5))
    said = "\n".join(methods_notes([method_of("grpo", run_of()), method_of("cppo", pruned)]))
    assert "cppo made as many optimizer updates as grpo at equal prompts" in said
    assert "FEWER optimizer updates" not in said


def test_without_a_pruned_method_there_is_no_table_and_no_note() -> None:
    methods = [method_of("grpo", run_of()), method_of("copris", run_of())]
    assert cppo_table(methods, curves_of(methods)) == []
    assert "at equal prompts" not in "\n".join(methods_notes(methods))


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        (settings_of(n=16, pruning_rate=0.9375), "1"),
        (settings_of(n=8, pruning_rate="7/8"), "1"),
        (settings_of(n=8, pruning_rate=0.75, scope="batch"), "2 on average"),
        ({"pruning": {"name": "cppo", "pruning_rate": 0.5}}, "-"),
    ],
)
def test_k_is_what_the_rate_leaves_of_a_group(config, kept) -> None:
    assert pruning_facts(config).kept == kept
