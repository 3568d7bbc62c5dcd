"""A mixture: exact shares, a seeded order, each row judged by its own task."""

import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks import Message, Row, TaskDataError, get_task, task_for
from copris_core.tasks.joining import fact_kinds, interleave, largest_total, numbered, shares
from copris_core.tasks.mix_task import MixTask

WEIGHTS = st.dictionaries(
    st.sampled_from("abcde"),
    st.integers(1, 50).map(lambda n: Fraction(n, 10)),
    min_size=1,
)


def row(source: str, question: str, **facts: int | str) -> Row:
    return Row(
        data_source=source,
        prompt=(Message(role="user", content=question),),
        ability="math",
        ground_truth="1",
        split="train",
        index=9,
        facts=facts,
    )


def days(**settings: object) -> dict[str, object]:
    return {"rows": 60, "val_rows": 4, **settings}


def test_shares_follow_the_largest_remainder():
    # 100 x (2, 1, 4)/7 = 28.57, 14.29, 57.14: whole parts sum to 99, the one left goes to .57.
    weights = {"a": Fraction(2), "b": Fraction(1), "c": Fraction(4)}
    assert shares(weights, 100) == {"a": 29, "b": 14, "c": 57}


def test_a_tie_goes_to_who_comes_first():
    assert shares({"b": Fraction(1), "a": Fraction(1)}, 3) == {"b": 2, "a": 1}


@given(weights=WEIGHTS, total=st.integers(0, 500))
def test_shares_sum_to_the_total_and_miss_by_less_than_one(weights, total):
    counts = shares(weights, total)
    whole = sum(weights.values())
    assert sum(counts.values()) == total
    for name, weight in weights.items():
        assert abs(counts[name] - total * weight / whole) < 1


@given(weights=WEIGHTS, data=st.data())
def test_the_largest_total_needs_no_row_twice_and_one_more_would(weights, data):
    available = {name: data.draw(st.integers(1, 40)) for name in weights}
    total = largest_total(weights, available)
    counts = shares(weights, total)
    assert all(counts[name] <= available[name] for name in weights)
    whole = sum(weights.values())
    assert any((total + 1) * weights[name] / whole > available[name] for name in weights)


def test_rows_of_a_part_keep_their_order_in_the_mixture():
    import random

    parts = {"a": [row("a", str(i)) for i in range(20)], "b": [row("b", str(i)) for i in range(5)]}
    mixed = interleave(parts, random.Random(3))
    for name, rows in parts.items():
        assert [each for each in mixed if each.data_source == name] == rows
    assert [each.data_source for each in mixed] != ["a"] * 20 + ["b"] * 5


def test_every_row_gets_every_fact_and_a_column_keeps_one_kind():
    rows = [row("a", "1", n=3, both=1), row("b", "2", word="x", both="y"), row("c", "3", both=7)]
    kinds = fact_kinds(rows)
    assert [dict(each.facts) for each in numbered(rows, kinds)] == [
        {"both": "1", "n": 3, "word": ""},
        {"both": "y", "n": -1, "word": "x"},
        {"both": "7", "n": -1, "word": ""},
    ]
    assert [each.index for each in numbered(rows, kinds)] == [0, 1, 2]


def two_parts(**settings: object) -> MixTask:
    parts = {
        "days": days(weight=2),
        # Another seed draws other problems; a pair (N, d) is in one split whatever the seed.
        "more": days(task="days", weight=0.5, rows=30, val_rows=3, seed=1),
    }
    return MixTask(parts=parts, **settings)


def test_a_mixture_has_exact_shares_and_all_validation_rows_in_order():
    task = two_parts(rows=25)
    first = get_task("days", **days())
    assert [each.prompt for each in task.validation_rows()] == [
        each.prompt
        for part in (first, get_task("days", **days(val_rows=3, seed=1)))
        for each in part.validation_rows()
    ]
    prompts = Counter(each.prompt for each in first.train_rows()[:20])
    drawn = Counter(each.prompt for each in task.train_rows())
    assert sum(drawn.values()) == 25
    assert prompts <= drawn
    assert [each.index for each in task.train_rows()] == list(range(25))
    assert [each.index for each in task.validation_rows()] == list(range(7))


def test_without_a_size_a_mixture_takes_all_that_need_no_row_twice():
    # 60 rows at 4 of 5 bind before 30 rows at 1 of 5: 75.
    assert len(two_parts().train_rows()) == 75


def test_the_seed_decides_the_order_and_never_which_rows_there_are():
    first, again, other = (two_parts(seed=seed).train_rows() for seed in (0, 0, 1))
    assert first == again
    assert [each.prompt for each in first] != [each.prompt for each in other]
    assert Counter(each.prompt for each in first) == Counter(each.prompt for each in other)


def test_a_row_of_a_mixture_is_judged_by_its_own_task():
    each = two_parts().train_rows()[0]
    verdict = task_for(each.data_source).score(f"#### {each.ground_truth}", each.ground_truth)
    assert verdict.score == 1
    with pytest.raises(ValueError, match=r"a mix judges nothing: ask task_for\(row.data_source\)"):
        two_parts().score("", "")


def test_a_part_without_weight_is_left_out():
    parts = {"days": days(), "gsm8k": {"weight": 0, "path": "nowhere.jsonl"}}
    assert {each.data_source for each in MixTask(parts=parts).train_rows()} == {"days"}


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, r"task\.parts names no task with a weight above 0: add \+task\.parts\.days"),
        ({"parts": {"days": {"weight": 0}}}, "names no task with a weight above 0"),
        ({"parts": {"days": days()}, "rows": 0}, r"task\.rows is 0: set it to 1 or more"),
        ({"parts": {"days": 2}}, r"task\.parts\.days is 2: give settings, .*\.days\.weight=1"),
        ({"parts": {"days": {"weight": -1}}}, r"task\.parts\.days\.weight is -1: set it to 0"),
        ({"parts": {"days": {"weight": math.nan}}}, r"weight is nan: set it to 0 or more"),
        ({"parts": {"days": {"weight": "two"}}}, r"weight is 'two': give a number"),
        ({"parts": {"days": {"weight": True}}}, r"weight is True: give a number"),
        ({"parts": {"dais": {}}}, r"task\.parts\.dais: unknown task 'dais': did you mean 'days'"),
        ({"parts": {"days": {"row": 1}}}, r"unknown setting task\.parts\.days\.row: did you mean"),
        ({"parts": {"days": {"rows": 0}}}, r"^task\.parts\.days\.rows is 0: set it to 1 or more"),
        ({"parts": {"days": {"rows": "x"}}}, r"^task\.parts\.days: .*'<' not supported"),
        ({"parts": {"x": {"task": "mix"}}}, r"task\.parts\.x is a mix itself: name its parts"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_part(settings, line):
    with pytest.raises(ValueError, match=line):
        MixTask(**settings)


def test_a_part_with_too_few_rows_is_refused():
    with pytest.raises(
        TaskDataError,
        match=r"task\.parts\.days has 60 training rows, its share of task\.rows=200 is 160: raise",
    ):
        two_parts(rows=200).train_rows()


def test_a_prompt_that_one_part_trains_on_and_another_validates_on_is_refused(tmp_path):
    lines = [f'{{"question": "How many {i}?", "answer": "#### {i}"}}' for i in range(8)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    held_out = tmp_path / "other.jsonl"
    held_out.write_text(lines[2])
    parts = {
        "gsm8k": {"path": str(path), "val_rows": 2},
        "again": {"task": "gsm8k", "path": str(path), "val_path": str(held_out)},
    }
    with pytest.raises(TaskDataError, match=r"that gsm8k trains on .* validates on \(.How many 2"):
        MixTask(parts=parts).train_rows()
