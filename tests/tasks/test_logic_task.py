"""The "logic" task: rows, shares, the answer in a response, and its verifier."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks import get_task
from copris_core.tasks.logic_datasets import DEFAULT_TASKS
from copris_core.tasks.logic_task import ANSWER_FORMAT, LogicTask, last_answer
from copris_core.tasks.task import Message

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

ROW_0 = (
    'How many times does the letter "h" appear in the text: '
    '"that can at one stroke annihilate a battalion to"?'
)
ZERO = {"weight": 0}
TRUTH = json.dumps({"dataset": "syllogism", "settings": {}, "answer": "Yes", "metadata": {}})


def _task(**settings):
    return LogicTask(**{"tasks": ["maze", "syllogism"], "rows": 20, "val_rows": 6, **settings})


@pytest.fixture(scope="module")
def default():
    """The task with its default datasets, few rows."""
    return LogicTask(rows=28, val_rows=28)


def test_every_default_dataset_gives_rows_that_their_own_answer_solves(default):
    rows = default.train_rows() + default.validation_rows()
    assert {row.facts["dataset"] for row in default.train_rows()} == set(DEFAULT_TASKS)
    assert {row.facts["dataset"] for row in default.validation_rows()} == set(DEFAULT_TASKS)
    for row in rows:
        verdict = get_task("logic").score(default.reference_answer(row), row.ground_truth)
        assert (verdict.score, verdict.reason) == (1.0, "correct")


def test_same_seed_gives_the_same_rows_and_another_seed_others():
    one, same, other = (_task(seed=seed) for seed in (1, 1, 2))
    assert one.train_rows() == same.train_rows()
    assert one.validation_rows() == same.validation_rows()
    assert one.train_rows() != other.train_rows()
    assert one.validation_rows() != other.validation_rows()


def test_rows_of_seed_0_never_change():
    # Shipped figures rest on these rows; a change here changes every report.
    row = LogicTask(tasks=["letter_counting"], rows=1, answer_format="").train_rows()[0]
    assert row.prompt[0].content == ROW_0
    assert json.loads(row.ground_truth)["answer"] == "2"


def test_rows_are_numbered_within_their_split_and_name_their_dataset():
    rows = _task().train_rows()
    assert [row.index for row in rows] == list(range(20))
    assert {(row.split, row.ability, row.data_source) for row in rows} == {
        ("train", "logic", "logic")
    }
    assert all(set(row.facts) == {"dataset"} for row in rows)
    assert {row.split for row in _task().validation_rows()} == {"test"}


def test_prompt_is_the_question_and_the_answer_format():
    row = _task(system_text="Be brief.").train_rows()[0]
    assert row.prompt[0] == Message(role="system", content="Be brief.")
    assert row.prompt[1].content.endswith("\n" + ANSWER_FORMAT)
    bare = _task(answer_format="").train_rows()[0]
    assert row.prompt[1].content == f"{bare.prompt[0].content}\n{ANSWER_FORMAT}"


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, {"maze": 10, "syllogism": 10}),
        ({"maze": {"weight": 3}, "syllogism": None}, {"maze": 15, "syllogism": 5}),
        ({"maze": {}, "syllogism": {"weight": 0.25}}, {"maze": 16, "syllogism": 4}),
        ({"maze": {"weight": 0}}, {"syllogism": 20}),
    ],
)
def test_rows_are_shared_out_by_weight(settings, counts):
    drawn = [row.facts["dataset"] for row in _task(settings=settings).train_rows()]
    assert {name: drawn.count(name) for name in drawn} == counts


def test_a_dataset_takes_its_own_settings():
    settings = {"letter_counting": {"min_words": 1, "max_words": 1}}
    for row in _task(tasks=["letter_counting"], settings=settings).train_rows():
        assert row.prompt[0].content.split('"')[3].count(" ") == 0
        assert json.loads(row.ground_truth)["settings"] == settings["letter_counting"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"rows": 0}, r"task\.rows is 0: set it to 1"),
        ({"val_rows": 0}, r"task\.val_rows is 0: set it to 1"),
        ({"tasks": []}, r"task\.tasks names no dataset"),
        ({"settings": dict.fromkeys(["maze", "syllogism"], ZERO)}, r"task\.tasks names no dataset"),
        ({"tasks": ["mazes"]}, r"did you mean 'maze'"),
        ({"settings": {"aiw": {}}}, r"task\.settings\.aiw: add aiw to task\.tasks"),
        ({"settings": {"maze": 2}}, r"task\.settings\.maze is 2: give settings"),
        (
            {"settings": {"maze": {"weight": -1}}},
            r"task\.settings\.maze\.weight is -1: set it to 0",
        ),
        ({"settings": {"maze": {"weight": "2"}}}, r"\.weight is '2': give a number"),
        ({"settings": {"maze": {"weight": float("nan")}}}, r"maze\.weight is nan"),
        ({"settings": {"maze": {"seed": 2}}}, r"maze\.seed: set task\.seed instead"),
        ({"settings": {"maze": {"size": 2}}}, r"maze\.size: set task\.rows instead"),
    ],
)
def test_wrong_settings_are_refused_with_the_mend(settings, why):
    with pytest.raises(ValueError, match=why):
        _task(**settings)


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ("So it does. <answer>Yes</answer>", 1.0, "correct"),
        ("<answer>\n Yes \n</answer> That is all.", 1.0, "correct"),
        ("<answer>No</answer> Wait. <answer>Yes</answer>", 1.0, "correct"),
        ("<answer>Yes</answer> Wait. <answer>No</answer>", 0.0, "wrong answer"),
        ("<answer>Yes</answer> Wait. <answer></answer>", 0.0, "wrong answer"),
        ("<answer>Yes No</answer>", 3 / 6, "partly right"),
        ("<answer>Yes", 0.0, "no answer in <answer></answer>"),
        ("Yes</answer>", 0.0, "no answer in <answer></answer>"),
        ("</answer>Yes<answer>", 0.0, "no answer in <answer></answer>"),
        ("Yes", 0.0, "no answer in <answer></answer>"),
        ("\\boxed{Yes}", 0.0, "no answer in <answer></answer>"),
        ("", 0.0, "no answer in <answer></answer>"),
        ("<answer>yes</answer>", 0.0, "wrong answer"),
        ("<answer>\u2119es</answer>", 0.0, "wrong answer"),
    ],
)
def test_only_the_last_closed_answer_scores(text, score, reason):
    verdict = LogicTask().score(text, TRUTH)
    assert (verdict.score, verdict.reason) == (score, reason)


@given(
    st.lists(st.sampled_from(["a", "<answer>x</answer>", "<answer>\ny z </answer>", "</answer>"]))
)
def test_the_answer_is_found_as_reasoning_gym_finds_it(parts):
    from reasoning_gym.utils import extract_answer

    assert last_answer("".join(parts)) == extract_answer("".join(parts))


@given(text=st.text(), inside=st.text())
def test_whatever_the_text_the_score_is_from_0_to_1(text, inside):
    for each in (text, f"<answer>{inside}</answer>{text}"):
        assert 0.0 <= LogicTask().score(each, TRUTH).score <= 1.0


@pytest.mark.parametrize("unit", ["<answer>", "</answer>", "<answer></answer>", "<", "Yes ", "\n"])
def test_a_response_of_a_million_characters_is_judged_at_once(unit):
    begin = time.perf_counter()
    assert LogicTask().score(unit * (10**6 // len(unit)), TRUTH).score == 0.0
    assert time.perf_counter() - begin < 0.2


def test_threads_get_the_verdict_that_one_thread_gets(default):
    rows = default.train_rows()
    texts = [default.reference_answer(rows[(i + 1) % len(rows)]) for i in range(len(rows))]
    truths = [row.ground_truth for row in rows]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(LogicTask().score, texts * 4, truths * 4))
    assert found == list(map(LogicTask().score, texts, truths)) * 4


def test_the_config_lists_the_default_datasets():
    yaml = pytest.importorskip("yaml")
    file = Path(__file__).parents[2] / "configs" / "task" / "logic.yaml"
    settings = yaml.safe_load(file.read_text())["task"]
    name = settings.pop("name")
    settings["tasks"] = tuple(settings["tasks"])
    assert get_task(name, **settings) == LogicTask()
