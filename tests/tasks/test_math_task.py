"""The math task: rows from files of several styles, the held-out part, and its verifier."""

import itertools
import json
import sys
import time
import types
from pathlib import Path

import pytest

from copris_core.tasks import verl_row, write_parquet
from copris_core.tasks.math_task import ANSWER_FORMAT, MathTask
from copris_core.tasks.task import TaskDataError

EXCERPT = Path(__file__).parents[1] / "data" / "math_excerpt.jsonl"
RECORDS = [json.loads(line) for line in EXCERPT.read_text().splitlines()]


def _task(**settings):
    return MathTask(**{"path": str(EXCERPT), "val_rows": 3, **settings})


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _only(tmp_path, row):
    """The training row made of one record; the other record is held out."""
    path = _write(tmp_path / "rows.jsonl", [row, {"problem": "held out", "answer": "1"}])
    (only,) = MathTask(path=path, val_rows=1).train_rows()
    return only


def test_a_row_asks_the_problem_and_for_a_box():
    row = _task().train_rows()[0]
    assert row.prompt[0].content == f"{RECORDS[0]['problem']} {ANSWER_FORMAT}"
    assert row.ground_truth == RECORDS[0]["answer"]
    assert row.facts == {"line": 1, "subject": RECORDS[0]["subject"], "level": 2}
    assert (row.data_source, row.ability) == ("math", "math")


def test_every_solution_of_the_excerpt_scores_against_its_own_answer():
    rows = _task(val_rows=1).train_rows() + _task(val_rows=1).validation_rows()
    for record, row in zip(RECORDS, rows, strict=True):
        assert _task().score(record["solution"], row.ground_truth).score == 1.0


def test_the_tasks_own_answers_score_one():
    rows = _task().train_rows() + _task().validation_rows()
    assert rows
    for row in rows:
        answer = _task().reference_answer(row)
        assert MathTask().score(answer, row.ground_truth).score == 1.0, answer


def test_no_solution_of_the_excerpt_scores_against_the_next_answer():
    for record, other in itertools.pairwise(RECORDS):
        assert _task().score(record["solution"], other["answer"]).score == 0.0


@pytest.mark.parametrize(
    ("row", "truth"),
    [
        ({"question": "q", "answer": "<<1+1=2>> so\n#### 1,200"}, "1,200"),
        ({"question": "q", "answer": "7"}, "7"),
        ({"problem": "q", "answer": 7}, "7"),
        ({"problem": "q", "solution": "is $\\boxed{\\frac{1}{2}}$"}, "\\frac{1}{2}"),
        ({"problem": "q", "solution": "\\boxed{1} or \\boxed{2}"}, "2"),
        ({"problem": "q", "answer": "3", "solution": "is $\\boxed{4}$"}, "3"),
        ({"problem": "q", "answer": "", "solution": "is $\\boxed{4}$"}, "4"),
        ({"problem": "q", "answer": None, "solution": "is $\\boxed{4}$"}, "4"),
        ({"Problem": "q", "Answer": 204, "Solution": "so"}, "204"),  # AIME
        ({"question": "q", "answer": 142.0}, "142"),  # AMC
        ({"question": "q", "final_answer": ["2"], "solution": ["so"]}, "2"),  # OlympiadBench
        ({"question": "q", "final_answer": ["1", "-2"]}, "1, -2"),
        ({"question": "q", "answer": "1.6", "solution": "is $\\boxed{1.6}$ m"}, "1.6"),  # Minerva
    ],
)
def test_each_style_states_its_answer_in_its_own_place(tmp_path, row, truth):
    assert _only(tmp_path, row).ground_truth == truth


def test_a_row_in_verls_schema_keeps_its_prompt(tmp_path):
    written = [verl_row(row) for row in _task(system_text="Be brief.").train_rows()]
    row = _only(tmp_path, written[0])
    assert [(m.role, m.content) for m in row.prompt] == [
        (each["role"], each["content"]) for each in written[0]["prompt"]
    ]
    assert row.ground_truth == RECORDS[0]["answer"]
    assert row.facts["subject"] == RECORDS[0]["subject"]


def test_parquet_rows_are_read_as_jsonl_rows_are(tmp_path):
    pytest.importorskip("pyarrow", reason="comes with the extra cpu")
    path = write_parquet(_task().train_rows(), tmp_path / "rows.parquet")
    rows = MathTask(path=str(path), val_rows=1).train_rows()
    assert [row.ground_truth for row in rows] == [each["answer"] for each in RECORDS[:9]]


def test_levels_are_numbers_and_missing_facts_have_the_same_keys(tmp_path):
    row = _only(tmp_path, {"problem": "q", "answer": "1", "level": "Level 5", "type": "Algebra"})
    assert row.facts == {"line": 1, "subject": "Algebra", "level": 5}
    row = _only(tmp_path, {"problem": "q", "answer": "1", "level": "Level ?"})
    assert row.facts == {"line": 1, "subject": "", "level": 0}


GOOD = {"problem": "p", "answer": "1"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("[1]", "not an object but list"),
        ("{", "not JSON"),
        ('{"answer": "1"}', "no text under 'problem' or 'question'"),
        ('{"problem": " ", "answer": "1"}', "no text under 'problem' or 'question'"),
        ('{"problem": "p"}', "no answer, and no"),
        ('{"problem": "p", "answer": true}', "no answer, and no"),
        ('{"problem": "p", "solution": "so it is 5"}', "no answer, and no"),
        ('{"problem": "p", "solution": "\\\\boxed{5"}', "nothing readable marks the answer"),
        ('{"question": "p", "answer": "so\\n####"}', "nothing readable marks the answer"),
        ('{"problem": "p", "answer": "' + "9" * 401 + '"}', "401 characters can't be judged"),
        ('{"prompt": "p", "reward_model": {}}', "'prompt' is not a list of messages"),
        ('{"prompt": [{"role": "user"}], "reward_model": {}}', "'prompt' is not a list"),
        ('{"prompt": [], "reward_model": {"ground_truth": "1"}}', "'prompt' has no text of a user"),
        (
            '{"prompt": [{"role": "user", "content": "p"}], "reward_model": {}}',
            "no answer, and no",
        ),
    ],
)
def test_a_malformed_row_is_one_line_with_its_place_and_the_mend(tmp_path, row, complaint):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + row + "\n")
    with pytest.raises(TaskDataError) as caught:
        MathTask(path=str(path), val_rows=1).train_rows()
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    assert complaint in message
    assert "\n" not in message
    assert "; every row needs" in message or "leave the row out" in message


def test_an_empty_file_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(TaskDataError, match="no rows; every row needs"):
        MathTask(path=_write(tmp_path / "empty.jsonl", [])).train_rows()
    with pytest.raises(TaskDataError, match="no such file"):
        MathTask(path=str(tmp_path / "missing.jsonl")).train_rows()


def test_the_end_of_a_local_file_is_held_out():
    task = _task(rows=4)
    assert [row.facts["line"] for row in task.train_rows()] == [1, 2, 3, 4]
    assert [row.facts["line"] for row in task.validation_rows()] == [11, 12, 13]
    assert [row.index for row in task.validation_rows()] == [0, 1, 2]


def test_a_validation_file_is_used_up_to_val_rows(tmp_path):
    own = [{**each, "unique_id": "own"} for each in RECORDS]
    task = _task(val_path=_write(tmp_path / "own.jsonl", own), val_rows=5)
    assert [row.facts["line"] for row in task.validation_rows()] == [1, 2, 3, 4, 5]
    assert [row.facts["line"] for row in task.train_rows()] == list(range(6, 14))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"val_path": "HuggingFaceH4/MATH-500"},
            r"task\.val_path=.* is a test set.* --task math500`",
        ),
        ({"val_path": "math-ai/aime25"}, r"--task aime25`, and set task\.val_path=null"),
        ({"path": "HuggingFaceH4/aime_2024"}, r"task\.path=.* is a test set.* train on agentica"),
    ],
)
def test_a_test_set_is_neither_trained_on_nor_chosen_by(settings, line):
    with pytest.raises(ValueError, match=line):
        _task(**settings)


def test_a_file_of_a_test_sets_rows_is_not_chosen_by():
    with pytest.raises(TaskDataError, match=r"excerpt\.jsonl:1: a row of a test set.*copris eval"):
        _task(val_path=str(EXCERPT)).validation_rows()


def test_a_held_out_question_is_never_trained_on_however_it_is_spaced(tmp_path):
    rows = [
        {"problem": "What is  1+1?", "answer": "2"},
        GOOD,
        {"problem": "what is\n1+1? ", "answer": "2"},
    ]
    path = _write(tmp_path / "rows.jsonl", rows)
    assert [row.facts["line"] for row in MathTask(path=path, val_rows=1).train_rows()] == [2]
    with pytest.raises(TaskDataError, match=r"all 3 rows are held out.*lower task\.val_rows"):
        MathTask(path=path, val_rows=3).train_rows()


@pytest.mark.parametrize("settings", [{"rows": 0}, {"val_rows": 0}])
def test_sizes_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"task\.\w+ is 0: set it to 1 or more"):
        _task(**settings)


@pytest.mark.parametrize(
    ("text", "truth", "score", "reason"),
    [
        ("so $\\boxed{72}$", "72", 1.0, "correct"),
        ("\\boxed{71} no, \\boxed{72}", "72", 1.0, "correct"),
        ("\\boxed{72} no, \\boxed{71}", "72", 0.0, "wrong"),
        ("\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{\\sqrt{2}}{2}", 1.0, "correct by value"),
        ("#### 72", "72", 1.0, "correct"),
        ("\\boxed{72}\n#### Step 3: check\nfine", "72", 1.0, "correct"),
        ("A: 18", "18", 1.0, "correct"),
        ("9 * 2 = 18.\nThe answer is 18.", "18", 1.0, "correct"),
        ("Thus the final answer is $\\frac{1}{2}$ of it.", "0.5", 1.0, "correct"),
        ("**Answer:** $1,200", "1200", 1.0, "correct"),
        ("Answer:\n\n18", "18", 1.0, "correct"),
        ("The answer is 18. No, the answer is 19.", "18", 0.0, "wrong"),
        ("The answer is 18 or \\boxed{19}", "18", 0.0, "wrong"),
        ("72", "72", 1.0, "correct, unmarked"),
        ("So the pair is $(7, 2)$. I hope it is correct.", "(7,2)", 1.0, "correct, unmarked"),
        ("Hence it is $7$ or $8$.", "8", 0.0, "wrong, unmarked"),
        ("Hence it is $7$ or $8$.", "7,8", 1.0, "correct, unmarked"),
        ("Thus the curve is an ellipse.", "\\text{ellipse}", 1.0, "correct, unmarked"),
        ("I don't know.", "72", 0.0, "no answer in a box"),
        ("$x = \\boxed{5}$ and $x = \\boxed{6}$", "6", 0.0, "wrong"),
        ("$x = \\boxed{5}$ and $x = \\boxed{6}$", "5,6", 1.0, "correct"),
        ("", "72", 0.0, "no answer in a box"),
        ("\\boxed{}", "72", 0.0, "no answer in a box"),
        ("\\boxed{72", "72", 0.0, "no answer in a box"),
        ("\\boxed{72} so \\boxed{", "72", 0.0, "no answer in a box"),
        ("\\boxed{5 or 6}", "5", 0.0, "wrong"),
        ("\\boxed{5, 6, 7, 8}", "5", 0.0, "wrong"),
        ("\\boxed{" + "1+" * 400 + "1}", "801", 0.0, "answer too long"),
        ("\\boxed{3}", "we get $\\boxed{3}$ by adding", 1.0, "correct"),
    ],
)
def test_the_last_marked_answer_counts(text, truth, score, reason):
    verdict = MathTask().score(text, truth)
    assert (verdict.score, verdict.reason) == (score, reason)


@pytest.mark.parametrize(
    "piece",
    [
        "9",
        "\\boxed{",
        "{",
        "\\frac",
        "####",
        "#### Step\n",
        "answer is ",
        "\nA:",
        "$",
        "\\",
        "A :*",
    ],
)
def test_a_million_characters_take_no_time(piece):
    started = time.process_time()
    long = piece * (1_000_000 // len(piece))
    for text in (long, "\\boxed{" + long, "\\boxed{" + long + "}", "answer is " + long):
        assert MathTask().score(text, "5").score == 0.0
    assert time.process_time() - started < 3.0


def _hub(monkeypatch, splits):
    """A hub whose every dataset has these splits; returns what was asked of it."""
    asked = []

    def load_dataset(hub_id, subset):
        asked.append((hub_id, subset))
        return splits

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return asked


def test_the_hubs_test_split_is_never_read(monkeypatch):
    asked = _hub(monkeypatch, {"train": RECORDS[:8], "test": [{"no": "row of ours"}]})
    task = MathTask(path="some/set", subset="main", val_rows=2)
    assert [row.facts["line"] for row in task.validation_rows()] == [7, 8]
    assert [row.facts["line"] for row in task.train_rows()] == [1, 2, 3, 4, 5, 6]
    assert set(asked) == {("some/set", "main")}


def test_a_hub_dataset_may_be_validated_on_but_not_by_its_test_split(monkeypatch):
    own = [{**each, "unique_id": "own"} for each in RECORDS]
    _hub(monkeypatch, {"validation": own[:9], "train": own, "test": own})
    assert len(_task(val_path="some/set", val_rows=50).validation_rows()) == 9
    _hub(monkeypatch, {"test": own})
    with pytest.raises(TaskDataError, match="no split validation or train but test; measure on it"):
        _task(val_path="some/set").validation_rows()
    _hub(monkeypatch, {"test": own, "other": own})
    with pytest.raises(TaskDataError, match="some/set: has no split train but test, other; save"):
        MathTask(path="some/set").train_rows()


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (("\\boxed{1,200}", "#### 1200.00", "So it is $1200$."), "1200"),
        (("\\boxed{\\frac12}", "\\boxed{\\dfrac{1}{2}}", "x = .5", "\\boxed{0.5}"), "1/2"),
        (("\\boxed{5\\text{ cm}}", "\\boxed{x=5}", "The answer is 5."), "5"),
        (("\\boxed{\\text{Even}}", "\\boxed{even}"), "even"),
        (("", "\\boxed{}", "no idea"), None),
    ],
)
def test_equal_answers_have_one_text_to_be_counted_by(texts, answer):
    assert {MathTask().answer(text) for text in texts} == {answer}


def test_missing_packages_and_an_unreachable_hub_say_what_to_do(monkeypatch):
    def load_dataset(hub_id, subset):
        raise OSError("no route\nto it")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(TaskDataError, match="some/set: no route; or set task"):
        MathTask(path="some/set").train_rows()
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"datasets is missing: pip install 'copris\[cpu\]'"):
        MathTask(path="some/set").train_rows()
