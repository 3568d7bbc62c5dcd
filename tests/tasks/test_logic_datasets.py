"""reasoning-gym's datasets as this house uses them: every verifier is met by unfriendly answers."""

import json
import os
import subprocess
import sys
import time
import warnings

import pytest

from copris_core.tasks.logic_datasets import (
    DEFAULT_TASKS,
    REFUSED,
    _entries,
    check_name,
    judge,
    split_of,
    take_puzzles,
)
from copris_core.tasks.task import TaskDataError

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own


@pytest.fixture(scope="module")
def puzzles():
    """Six puzzles of every default dataset."""
    return {name: _puzzles(name, count=6) for name in DEFAULT_TASKS}


def _puzzles(name, *, split="train", count, seed=0, **settings):
    return take_puzzles(name, settings, split=split, seed=seed, count=count)


def _truth(dataset, answer, metadata, **settings):
    known = {"dataset": dataset, "settings": settings, "answer": answer, "metadata": metadata}
    return json.dumps(known)


def test_at_least_20_datasets_are_on_by_default_and_none_of_them_is_refused():
    assert len(set(DEFAULT_TASKS)) >= 20
    assert not set(DEFAULT_TASKS) & set(REFUSED)


def test_every_name_exists_in_reasoning_gym():
    from reasoning_gym.factory import DATASETS

    assert not (set(DEFAULT_TASKS) | set(REFUSED)) - set(DATASETS)


@pytest.mark.parametrize("name", DEFAULT_TASKS)
def test_its_own_answer_scores_1_and_a_wrong_one_less(puzzles, name):
    for puzzle in puzzles[name]:
        assert judge(puzzle.answer, puzzle.truth) == 1.0
        assert judge("zz 77", puzzle.truth) < 0.5
        others = {each.answer for each in puzzles[name]} - {puzzle.answer}
        assert all(judge(other, puzzle.truth) < 1.0 for other in others)


UNFRIENDLY = [
    *("", " ", "NaN", "-nan", "inf", "1e999", "1e1000000000", "1/0", "null", "{}", "[]", "[null]"),
    *("[" * 900, "{" * 900, "(" * 900, "9" * 900, "A," * 400, "1 " * 400, "1\n" * 400, "=," * 400),
    *("\x00", "\u0662", "\ud800", "é" * 900, "9**9**9**9", "__import__('os').abort()", "x" * 10**6),
]


@pytest.mark.parametrize("name", DEFAULT_TASKS)
def test_an_unfriendly_answer_neither_hangs_nor_raises_nor_wins(puzzles, name):
    puzzle = puzzles[name][0]
    begin = time.perf_counter()
    for text in UNFRIENDLY:
        score = judge(text, puzzle.truth)
        assert 0.0 <= score <= 1.0
        assert score < 0.6 or text.strip() == puzzle.answer
    assert time.perf_counter() - begin < 1.0


def test_a_list_of_nan_is_not_a_sorted_list():
    # Alone, the verifier takes it: NaN is not above its tolerance, and a list equals itself.
    truth = _truth("number_sorting", "['1', '2', '3']", {"direction": "ascending"})
    assert judge("['1', '2', '3']", truth) == 1.0
    assert judge("[NaN, NaN, NaN]", truth) == 0.0


def test_a_score_outside_0_to_1_is_no_score():
    # With a true count of -1 the relative error is negative, and exp(-5 x error) above 1.
    truth = _truth("calendar_arithmetic", "-1", {"task": "count_days"})
    assert judge("-1", truth) == 1.0
    assert judge("10", truth) == 0.0


def test_a_word_that_is_the_answer_may_be_nan():
    assert judge("Nan", _truth("syllogism", "Nan", {})) == 1.0


def test_an_answer_may_be_four_times_as_long_as_the_right_one_and_a_thousand_more():
    truth = _truth("syllogism", "Yes", {})
    assert judge("Yes" + " " * 1009, truth) > 0.0
    assert judge("Yes" + " " * 1010, truth) == 0.0


def test_the_verifier_judges_by_the_settings_that_the_row_was_made_with():
    # Its tolerance is one unit of the last place it was told to ask for.
    for places, score in ((1, 1.0), (4, 0.0)):
        settings = {"min_num_decimal_places": 1, "max_num_decimal_places": places}
        truth = _truth("decimal_arithmetic", "1.50", {}, **settings)
        assert judge("1.45", truth) == score


@pytest.mark.parametrize("name", DEFAULT_TASKS)
def test_the_splits_share_no_question_whatever_the_seed(name):
    train = {each.question for seed in (0, 1) for each in _puzzles(name, count=8, seed=seed)}
    test = [p.question for s in (0, 1) for p in _puzzles(name, split="test", count=3, seed=s)]
    assert {split_of(each) for each in train} == {"train"}
    assert {split_of(each) for each in test} == {"test"}


def test_the_splits_draw_from_seeds_apart():
    streams = [_entries("maze", {}, split=split, seed=0) for split in ("train", "test")]
    one, other = ({next(stream)["question"] for _ in range(20)} for stream in streams)
    assert not one & other


def test_white_space_does_not_change_the_split_and_one_question_in_five_is_held_out():
    assert all(split_of(f"a  b\n c{n}") == split_of(f"a b c{n}") for n in range(50))
    held_out = sum(split_of(f"question {n}") == "test" for n in range(5000))
    assert 900 < held_out < 1100


def test_held_out_questions_are_distinct():
    questions = [p.question for p in _puzzles("aiw", split="test", count=40)]
    assert len(set(questions)) == 40


def test_a_dataset_that_runs_dry_is_named_with_the_mend():
    with pytest.raises(TaskDataError, match=r"tower_of_hanoi has only \d of 20 test .* fewer"):
        _puzzles("tower_of_hanoi", split="test", count=20, max_disks=3)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"min_dist": 9, "max_dist": 3}, r"settings\.maze: .*mend"),
        ({"size_of": 3}, r"maze: .*size_of.*mend"),
    ],
)
def test_settings_that_a_dataset_refuses_are_named(settings, why):
    with pytest.raises(TaskDataError, match=why):
        _puzzles("maze", count=1, **settings)


def test_an_unknown_dataset_is_told_the_nearest_and_a_refused_one_why():
    with pytest.raises(ValueError, match=r"'mazes': did you mean 'maze'\?"):
        check_name("mazes")
    with pytest.raises(ValueError, match="'n_queens', which is left out: its verifier runs"):
        check_name("n_queens")
    check_name("sudoku")


def test_a_dataset_that_does_not_know_its_own_answer_is_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(TaskDataError, match="rearc does not accept its own answer"):
            _puzzles("rearc", count=1)


def test_rows_are_the_same_in_every_process():
    script = (
        "import zlib\n"
        "from copris_core.tasks.logic_datasets import DEFAULT_TASKS, take_puzzles\n"
        "for name in DEFAULT_TASKS:\n"
        "    rows = take_puzzles(name, {}, split='train', seed=5, count=4)\n"
        "    print(name, zlib.crc32(repr(rows).encode()))"
    )
    begun = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    one, other = (each.communicate()[0].splitlines() for each in begun)
    assert len(one) == len(DEFAULT_TASKS)
    assert one == other
