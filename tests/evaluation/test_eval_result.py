"""A whole evaluation: by hand, whatever the order, and refused where it is none."""

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copris_core.evaluation.eval_result import EvalResult, evaluate
from copris_core.evaluation.eval_sample import EvalSample
from copris_core.evaluation.eval_task import TaskResult, token_stats
from copris_core.evaluation.intervals import Interval
from copris_core.evaluation.pass_at_k import mean_pass_at_k
from tests.evaluation.eval_house import prompt


def only(samples: list[EvalSample], **changes: object) -> TaskResult:
    (task,) = evaluate(samples, **{"resamples": 50, **changes}).tasks
    return task


def sums() -> list[EvalSample]:
    """Three prompts with 4 samples: 2, 0 and 4 of them correct."""
    return [
        *prompt(0, ["right", "right", "b", "c"], subject="add", level="2"),
        *prompt(1, ["b", "b", None, "c"], subject="add", level="10"),
        *prompt(2, ["right"] * 4, subject="mul", level="10"),
    ]


def test_pass_at_k_and_maj_at_k_are_what_they_are_by_hand() -> None:
    task = only(sums())
    assert (task.task, task.num_prompts, task.num_samples) == ("sums", 3, 4)
    # prompt 0: pass@1 1/2, pass@2 = 1 - C(2, 2) / C(4, 2) = 5/6, pass@4 1
    estimates = {k: value.estimate for k, value in task.pass_at.items()}
    assert estimates == pytest.approx({1: 1.5 / 3, 2: (5 / 6 + 1) / 3, 4: 2 / 3})
    # prompt 0: two votes against one and one; of 6 pairs 1 wins and 4 tie
    votes = {k: value.estimate for k, value in task.majority_at.items()}
    assert votes == pytest.approx({1: 1.5 / 3, 2: (0.5 + 1) / 3, 4: 2 / 3})
    assert task.unparsable.estimate == pytest.approx(1 / 12)
    assert task.score.estimate == pytest.approx(1.5 / 3)


def test_subjects_and_levels_have_their_own_rows_in_the_order_of_their_names() -> None:
    task = only(sums())
    assert [(x.name, x.num_prompts, x.pass_at_1.estimate) for x in task.subjects] == [
        ("add", 2, 0.25),
        ("mul", 1, 1.0),
    ]
    assert [(x.name, x.num_prompts) for x in task.levels] == [("2", 1), ("10", 2)]
    assert [x.majority and x.majority.estimate for x in task.levels] == [1.0, 0.5]


def test_a_task_without_subjects_has_no_such_rows() -> None:
    task = only(prompt(0, ["right"]))
    assert (task.subjects, task.levels) == ((), ())


def test_lengths_are_told_of_correct_and_wrong_responses_apart() -> None:
    samples = [
        *prompt(0, ["right", "right"], num_tokens=10),
        *prompt(1, ["b", "b"], num_tokens=40, finish="length"),
        *prompt(2, ["right", "b"], num_tokens=100, finish="length"),
    ]
    task = only(samples)
    assert task.lengths.mean == pytest.approx(300 / 6)
    assert (task.lengths.median, task.lengths.max) == (40, 100)
    assert (task.lengths_correct.n, task.lengths_correct.mean) == (3, 40)
    assert (task.lengths_wrong.n, task.lengths_wrong.mean) == (3, 60)
    assert (task.num_truncated, task.truncated.estimate) == (4, pytest.approx(2 / 3))
    assert task.truncated_accuracy == pytest.approx(1 / 4)


def test_one_in_twenty_is_longer_than_the_95_percent_length() -> None:
    stats = token_stats(np.arange(1, 102))
    assert (stats.median, stats.p95, stats.max) == (51, 96, 101)
    empty = token_stats(np.array([], np.int64))
    assert (empty.n, empty.mean, empty.p95, empty.max) == (0, None, None, None)


def test_nothing_cut_off_has_no_accuracy_among_the_cut_off() -> None:
    assert only(prompt(0, ["right"])).truncated_accuracy is None


def test_a_task_whose_verifier_finds_no_answers_has_nothing_to_vote_on() -> None:
    runs = [replace(x, answer=None) for x in prompt(0, ["right", "b"], subject="x")]
    task = only(runs)
    assert task.majority_at == {}
    assert task.subjects[0].majority is None
    assert task.pass_at[1].estimate == 0.5


def test_prompts_are_resampled_and_not_samples() -> None:
    few = only([x for i in range(20) for x in prompt(i, ["right" if i % 2 else "b"])])
    many = only([x for i in range(20) for x in prompt(i, ["right" if i % 2 else "b"] * 8)])
    assert many.pass_at[1] == few.pass_at[1]  # 8 copies of a sample are no 8 samples
    assert many.pass_at[1].high - many.pass_at[1].low > 0.3


def test_each_task_counts_once_in_the_average() -> None:
    samples = prompt(0, ["right"], task="small")
    for number in range(40):
        samples += prompt(number, ["right" if number % 4 == 0 else "b"], task="big")
    result = evaluate(samples, resamples=200)
    assert [task.task for task in result.tasks] == ["big", "small"]
    assert result.average is not None
    assert result.average.estimate == pytest.approx((0.25 + 1) / 2)
    big = result.tasks[0].pass_at[1]
    # small never varies: the average varies half as much as big does
    assert result.average.high - result.average.low == pytest.approx((big.high - big.low) / 2)


def test_a_single_task_has_no_average() -> None:
    assert evaluate(sums(), resamples=10).average is None


def test_a_task_has_the_same_numbers_whatever_is_evaluated_with_it() -> None:
    alone = only(sums())
    beside = evaluate([*prompt(0, ["b"], task="other"), *sums()], resamples=50).tasks[1]
    assert beside == alone


def test_k_that_are_asked_for_come_with_1_and_n() -> None:
    assert list(only(sums(), ks=[3]).pass_at) == [1, 3, 4]
    assert list(only(prompt(0, ["b"] * 6)).majority_at) == [1, 2, 4, 6]


def test_more_samples_allowed_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sums has 4 samples a prompt: give k of 1\.\.4, or more"):
        evaluate(sums(), ks=[8])


ANSWERS = st.sampled_from(["right", "b", "c", None])
EVALS = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(ANSWERS, min_size=n, max_size=n), min_size=1, max_size=6)
)


@settings(max_examples=30)
@given(EVALS, st.randoms(use_true_random=False))
def test_the_order_of_the_lines_does_not_matter(rows, random) -> None:
    samples = [x for number, row in enumerate(rows) for x in prompt(number, row)]
    before = evaluate(samples, resamples=20)
    random.shuffle(samples)
    assert evaluate(samples, resamples=20) == before


@settings(max_examples=30)
@given(EVALS)
def test_intervals_hold_their_estimates_and_maj_at_1_is_pass_at_1(rows) -> None:
    task = only([x for number, row in enumerate(rows) for x in prompt(number, row)])
    intervals: list[Interval] = [
        *task.pass_at.values(),
        *task.majority_at.values(),
        *(task.score, task.truncated, task.unparsable),
    ]
    assert all(0 <= x.low <= x.estimate <= x.high <= 1 + 1e-12 for x in intervals)
    counts = [row.count("right") for row in rows]
    for k, value in task.pass_at.items():
        assert value.estimate == pytest.approx(
            mean_pass_at_k([len(rows[0])] * len(rows), counts, k)
        )
    if task.majority_at:
        assert task.majority_at[1].estimate == pytest.approx(task.pass_at[1].estimate, abs=1e-9)


def test_one_seed_gives_one_result_and_another_seed_other_ends() -> None:
    samples = [x for i in range(30) for x in prompt(i, ["right" if i % 3 else "b"])]
    assert evaluate(samples, rng_seed=3) == evaluate(samples, rng_seed=3)
    draws = [evaluate(samples, rng_seed=seed, resamples=40).tasks[0].score for seed in range(8)]
    assert len({(x.low, x.high) for x in draws}) > 1
    assert len({x.estimate for x in draws}) == 1


def test_a_result_is_plain_json_without_nan() -> None:
    result: EvalResult = evaluate([*sums(), *prompt(0, ["b"], task="other")], resamples=10)
    text = json.dumps(result.to_json(), allow_nan=False)
    task = json.loads(text)["tasks"][1]
    assert task["pass_at"]["4"]["estimate"] == pytest.approx(2 / 3)
    assert [x["name"] for x in task["levels"]] == ["2", "10"]
    assert math.isfinite(task["lengths"]["p95"])


def test_a_sample_that_is_there_twice_is_refused() -> None:
    with pytest.raises(
        ValueError, match="sample 2 of sums:1 is there twice: delete one of the two"
    ):
        evaluate([*sums(), sums()[6]])


def test_an_unfinished_evaluation_is_refused_with_the_way_on() -> None:
    with pytest.raises(ValueError, match="sums has 10 of 12 samples, 2 of 3 prompts are not fin"):
        evaluate([x for x in sums() if (x.uid, x.index) not in {("sums:0", 1), ("sums:2", 3)}])


@pytest.mark.parametrize("field", ["question", "ground_truth", "subject", "level"])
def test_two_evaluations_in_one_file_are_refused(field: str) -> None:
    first, *others = sums()
    with pytest.raises(ValueError, match=f"samples of sums:0 differ in their {field}: .* --out"):
        evaluate([replace(first, **{field: "else"}), *others])


def test_no_sample_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="an evaluation without samples: run copris eval first"):
        evaluate([])


@pytest.mark.slow  # 42,208 samples
def test_gsm8k_with_32_samples_of_each_prompt_is_summed_up_in_seconds() -> None:
    rng = np.random.default_rng(0)
    answers = np.array(["right", "b", "c", "d", "e", "f"])
    samples = [
        x for number in range(1319) for x in prompt(number, rng.choice(answers, 32).tolist())
    ]
    before = time.process_time()
    evaluate(samples)
    assert time.process_time() - before < 5


def test_prompts_come_in_the_order_of_their_numbers() -> None:
    from copris_core.evaluation.sample_grid import grids_by_task

    samples = [x for number in (10, 9, 100) for x in prompt(number, ["b"])]
    (grid,) = grids_by_task(samples)
    assert [row[0].uid for row in grid.rows] == ["sums:9", "sums:10", "sums:100"]
