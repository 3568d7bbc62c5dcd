"""The "instruction" task: rows, the held-out part, files of IFEval's schema, and the score."""

import collections
import functools
import importlib.util
import inspect
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from copris_core.tasks import instruction_records, instruction_task
from copris_core.tasks.instruction_constraints import PARAMETERS, conflict, fault_of
from copris_core.tasks.instruction_task import InstructionTask, answer_of, split_of
from copris_core.tasks.task import TaskDataError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm_eval is not installed"
)

ROOT = Path(__file__).parents[2]
TASK = InstructionTask(rows=120, val_rows=40)
PROMPT = "Write about tea.\n\nUse no commas."


def _truth(*asked, prompt=PROMPT):
    ids, kwargs = [each[0] for each in asked], [each[1] for each in asked]
    return json.dumps({"instruction_id_list": ids, "kwargs": kwargs, "prompt": prompt})


NO_COMMA = ("punctuation:no_comma", {})
TITLE = ("detectable_format:title", {})
QUOTED = ("startend:quotation", {})
JSON = ("detectable_format:json_format", {})


def _ifeval_row(**changes):
    row = {
        "key": 1000,
        "prompt": "Write about tea, in a table.",
        "instruction_id_list": ["punctuation:no_comma", "detectable_format:number_bullet_lists"],
        "kwargs": [{"num_bullets": None}, {"num_bullets": 3, "relation": None}],
    }
    return {**row, **changes}


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_are_the_same_every_time_and_differ_by_seed():
    assert InstructionTask(rows=120, val_rows=9).train_rows() == TASK.train_rows()
    assert TASK.validation_rows() == TASK.validation_rows()
    assert InstructionTask(rows=120, seed=1).train_rows() != TASK.train_rows()


def _judged():
    task = InstructionTask(rows=20, val_rows=10)
    rows = [*task.train_rows(), *task.validation_rows()]
    return rows, [task.score("tea. " + row.ground_truth, row.ground_truth) for row in rows]


def test_the_hash_seed_of_the_process_changes_nothing():
    script = f"{inspect.getsource(_judged)}\nprint(_judged())"
    importing = "from copris_core.tasks.instruction_task import InstructionTask\n"
    done = subprocess.run(
        [sys.executable, "-c", importing + script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(_judged())


def test_a_row_asks_for_its_constraints_and_can_be_judged_from_its_ground_truth():
    for row in TASK.train_rows():
        truth = json.loads(row.ground_truth)
        ids = truth["instruction_id_list"]
        assert truth["prompt"] == row.prompt[0].content
        assert 1 <= len(ids) == len(truth["kwargs"]) == row.facts["num_constraints"] <= 3
        assert row.facts["constraints"] == " ".join(ids)
        assert [fault_of(*each) for each in zip(ids, truth["kwargs"], strict=True)] == [None] * len(
            ids
        )
        assert row.data_source == TASK.name == "instruction"


def test_every_generated_row_can_be_followed():
    for row in [*TASK.train_rows(), *TASK.validation_rows()]:
        response = TASK.reference_answer(row)
        assert TASK.score(response, row.ground_truth).score == 1.0, (row.ground_truth, response)


def test_rows_with_many_constraints_can_be_followed():
    crowded = InstructionTask(rows=25, max_constraints=9)
    for row in crowded.train_rows():
        response = crowded.reference_answer(row)
        assert crowded.score(response, row.ground_truth).score == 1.0, (row.ground_truth, response)


def test_constraints_that_contradict_each_other_never_meet():
    for row in InstructionTask(rows=500, max_constraints=9).train_rows():
        ids = row.facts["constraints"].split()
        assert not any(conflict(one, other) for one in ids for other in ids if one != other)


def test_every_constraint_is_drawn():
    drawn = collections.Counter(
        each
        for row in InstructionTask(rows=1000).train_rows()
        for each in row.facts["constraints"].split()
    )
    assert set(drawn) == set(PARAMETERS)


@pytest.mark.parametrize("constraints", [(), ("punctuation:no_comma",)])
def test_no_held_out_prompt_is_trained_on(constraints):
    train = InstructionTask(rows=800, constraints=constraints).train_rows()
    held_out = InstructionTask(val_rows=100, seed=5, constraints=constraints).validation_rows()
    prompts = {row.prompt for row in held_out}
    assert len(prompts) == 100
    assert not prompts & {row.prompt for row in train}


def test_one_in_five_is_held_out():
    splits = [split_of(f"Write about {i}.", ["a"], [{}]) for i in range(5000)]
    assert 900 < splits.count("test") < 1100


def test_the_order_of_constraints_does_not_change_the_split():
    for i in range(50):
        one, other = ("a", {"n": i, "m": 1}), ("b", {"n": 2})
        split = split_of("Write.", ["a", "b"], [one[1], other[1]])
        assert split == split_of("Write.", ["b", "a"], [other[1], {"m": 1, "n": i}])


def test_chosen_constraints_are_the_only_ones():
    ids = ["punctuation:no_comma", "keywords:existence"]
    task = InstructionTask(rows=100, val_rows=50, constraints=ids, max_constraints=5)
    drawn = {each for row in task.train_rows() for each in row.facts["constraints"].split()}
    assert drawn == set(ids)
    assert max(row.facts["num_constraints"] for row in task.train_rows()) == 2


def test_too_many_held_out_rows_are_refused_with_the_mend(monkeypatch):
    monkeypatch.setattr(instruction_task, "MAX_DRAWS_PER_ROW", 300)
    task = InstructionTask(val_rows=2000, constraints=["punctuation:no_comma"], max_constraints=1)
    with pytest.raises(ValueError, match=r"hardly more than \d+ test rows.*lower task\.val_rows"):
        task.validation_rows()


@pytest.mark.parametrize("name", ["rows", "val_rows", "max_constraints"])
def test_sizes_out_of_range_are_refused(name):
    with pytest.raises(ValueError, match=rf"task\.{name} is 0: set it to 1 or more"):
        InstructionTask(**{name: 0})


def test_an_unknown_constraint_is_refused():
    with pytest.raises(ValueError, match=r"task\.constraints has 'no_comma': choose among"):
        InstructionTask(constraints=["no_comma"])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("tea", "tea"),
        ("<think>a, b</think>tea", "tea"),
        ("a, b</think>tea", "tea"),
        ("<think>a</think>b</think>tea", "tea"),
        (" <think>a, b", ""),
        ("<think>a</think>", ""),
        ("tea with <think>", "tea with <think>"),
    ],
)
def test_the_answer_stands_after_the_thinking(text, answer):
    assert answer_of(text) == answer


@pytest.mark.parametrize(
    ("text", "asked", "score", "reason"),
    [
        ("tea", [NO_COMMA], 1.0, "all followed"),
        ("tea, hot", [NO_COMMA], 0.0, "not followed: punctuation:no_comma"),
        ("<<tea>>, hot", [NO_COMMA, TITLE], 0.5, "not followed: punctuation:no_comma"),
        ("tea, hot", [TITLE, NO_COMMA], 0.0, "not followed: detectable_format:title, punctuation"),
        ('"a, b"', [NO_COMMA, TITLE, QUOTED], 1 / 3, "not followed: punctuation:no_comma, detect"),
        ("<think>a, b</think>tea", [NO_COMMA], 1.0, "all followed"),
        ("<think>a b", [NO_COMMA], 0.0, "empty response"),
        ("", [NO_COMMA], 0.0, "empty response"),
        (" \n\u00a0", [NO_COMMA, TITLE], 0.0, "empty response"),
        (PROMPT, [NO_COMMA], 0.0, "only repeats the prompt"),
        (f"  {PROMPT.upper()}  ", [NO_COMMA], 0.0, "only repeats the prompt"),
        (PROMPT + " Tea.", [NO_COMMA], 1.0, "all followed"),
        ('{"a": NaN}', [JSON], 0.0, "not followed: detectable_format:json_format"),
        ('{"a": 1e999}', [JSON], 1.0, "all followed"),
        ("[" * 100_000, [JSON], 0.0, "not followed: detectable_format:json_format"),
        ("\ud800\u0000\u202e \U0001f600 \u0301", [NO_COMMA], 1.0, "all followed"),
        ("\uff0c\u060c", [NO_COMMA], 1.0, "all followed"),  # a comma of another script is none
        ("import sys; sys.exit(0)", [TITLE], 0.0, "not followed: detectable_format:title"),
    ],
)
def test_the_score_is_the_share_of_constraints_followed(text, asked, score, reason):
    verdict = TASK.score(text, _truth(*asked))
    assert verdict.score == pytest.approx(score)
    assert verdict.reason.startswith(reason)


@functools.cache
def _truths():
    return [row.ground_truth for row in InstructionTask(rows=100, max_constraints=4).train_rows()]


MARKUP = st.lists(
    st.sampled_from(["<<", "******", "***", "\n\n", "* a", "P.S.", "{", "</think>", "| a |", "a."]),
    max_size=20,
).map("".join)


@settings(max_examples=80)
@given(text=st.one_of(st.text(), MARKUP), number=st.integers(0, 99))
@example(text="\ud800", number=0)
@example(text="\x00", number=1)
def test_whatever_the_text_is_the_score_is_within_0_and_1_and_the_same_again(text, number):
    truth = _truths()[number]
    verdict = TASK.score(text, truth)
    assert 0.0 <= verdict.score <= 1.0
    assert InstructionTask().score(text, truth) == verdict


def test_many_threads_judge_alike():
    rng = random.Random(0)
    cases = [(rng.choice(_truths()) + " so it is", rng.choice(_truths())) for _ in range(40)]
    alone = [TASK.score(*case) for case in cases]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda case: TASK.score(*case), cases)) == alone


@pytest.mark.parametrize("piece", ["a. ", "\n"])
def test_a_million_characters_are_judged_in_seconds(piece):
    words = ("length_constraints:sentence_words", {"max_words": 12})
    truth = _truth(NO_COMMA, TITLE, words, ("change_case:english_lowercase", {}))
    started = time.process_time()
    TASK.score("a" + piece * (1_000_000 // len(piece)), truth)
    assert time.process_time() - started < 5.0


def test_a_file_of_ifevals_schema_is_validated_on(tmp_path):
    path = _write(
        tmp_path / "ifeval.jsonl", [_ifeval_row(), _ifeval_row(kwargs=[{}, {"num_bullets": 0}])]
    )
    task = InstructionTask(rows=5, val_path=path)
    first, second = task.validation_rows()
    assert first.prompt[0].content == "Write about tea, in a table."
    assert (first.facts["line"], second.facts["line"]) == (1, 2)
    assert json.loads(first.ground_truth)["kwargs"] == [{}, {"num_bullets": 3}]
    assert first.facts.keys() == task.train_rows()[0].facts.keys()
    assert task.score("- a\n- b\n- c", first.ground_truth).score == 1.0
    assert task.score("no list", second.ground_truth).score == 1.0
    assert task.reference_answer(first) is None
    assert len(InstructionTask(val_rows=1, val_path=path).validation_rows()) == 1


def test_a_prompt_of_the_validation_file_is_never_trained_on(tmp_path):
    trained_on = TASK.train_rows()[0]
    truth = json.loads(trained_on.ground_truth)
    path = _write(tmp_path / "val.jsonl", [truth])
    rows = InstructionTask(rows=120, val_path=path).train_rows()
    assert trained_on.prompt not in {row.prompt for row in rows}
    assert len(rows) == 120


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompt": " "}, "no text under 'prompt'"),
        ({"prompt": 3}, "no text under 'prompt'"),
        ({"instruction_id_list": []}, "no list under 'instruction_id_list'"),
        ({"instruction_id_list": "punctuation:no_comma"}, "no list under 'instruction_id_list'"),
        ({"kwargs": [{}]}, "not one object of kwargs for each"),
        ({"kwargs": None}, "not one object of kwargs for each"),
        ({"kwargs": [{}, 3]}, "number_bullet_lists needs kwargs"),
        ({"kwargs": [{}, {"num_bullets": "3"}]}, "num_bullets is '3', not a whole number"),
        ({"instruction_id_list": ["a", "b"]}, "unknown instruction id 'a'"),
    ],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path, changes, complaint):
    path = _write(tmp_path / "bad.jsonl", [_ifeval_row(), _ifeval_row(**changes)])
    with pytest.raises(TaskDataError) as raised:
        InstructionTask(val_path=path).validation_rows()
    assert str(raised.value).startswith(f"{path}:2: ")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", "{", r"a\.jsonl:1: not JSON"),
        ("a.jsonl", "[1]", r"a\.jsonl:1: not an object but list"),
        ("a.jsonl", "\n \n", r"a\.jsonl: no rows; every row needs"),
        ("a.csv", "a,b", r"a\.csv: not a \.jsonl file; set task\.val_path"),
    ],
)
def test_a_file_that_is_not_of_the_schema_is_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskDataError, match=complaint):
        InstructionTask(val_path=str(tmp_path / name)).validation_rows()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(TaskDataError, match=r"gone\.jsonl: no such file; set task\.val_path"):
        InstructionTask(val_path=str(tmp_path / "gone.jsonl")).train_rows()


def test_a_hub_id_is_asked_from_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(
        instruction_records,
        "_hub_rows",
        lambda hub_id: asked.append(hub_id) or [("place", 1, _ifeval_row())],
    )
    [row] = InstructionTask(val_path="some/set").validation_rows()
    assert asked == ["some/set"]
    assert row.facts["line"] == 1


def test_ifeval_is_measured_on_and_never_chosen_by(monkeypatch):
    asked = []
    monkeypatch.setattr(
        instruction_records,
        "_hub_rows",
        lambda hub_id: asked.append(hub_id) or [("place", 1, _ifeval_row())],
    )
    [row] = InstructionTask().test_rows()
    assert (asked, row.split) == (["google/IFEval"], "test")
    with pytest.raises(
        ValueError, match=r"task\.val_path=google/IFEval is a test set.*copris eval"
    ):
        InstructionTask(val_path="google/IFEval")
