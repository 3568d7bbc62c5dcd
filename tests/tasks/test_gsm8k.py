"""GSM8K: rows from files, the held-out part, and the verifier."""

import json
import sys
import time
import types
from pathlib import Path

import pytest

from copris_core.tasks.gsm8k import ANSWER_FORMAT, Gsm8kTask
from copris_core.tasks.task import Message, TaskDataError

EXCERPT = Path(__file__).parents[1] / "data" / "gsm8k_excerpt.jsonl"
TRUTHS = ["72", "10", "5", "42", "624", "35", "48", "16", "41", "990"]  # each answer's last line
VAL_EXCERPT = EXCERPT.with_name("gsm8k_val_excerpt.jsonl")


def _task(**settings):
    return Gsm8kTask(**{"path": str(EXCERPT), "val_rows": 3, **settings})


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_gold_answers_parse_and_score_against_themselves():
    records = [json.loads(line) for line in EXCERPT.read_text().splitlines()]
    rows = _task(val_path=str(VAL_EXCERPT)).train_rows()
    assert [row.ground_truth for row in rows] == TRUTHS
    for record, row in zip(records, rows, strict=True):
        assert _task().score(record["answer"], row.ground_truth).score == 1.0


def test_prompt_is_the_question_and_the_answer_format():
    row = _task().train_rows()[0]
    assert row.prompt[0].content.startswith("Natalia sold clips to 48 of her friends")
    assert row.prompt[0].content.endswith(" " + ANSWER_FORMAT)
    assert [message.role for message in row.prompt] == ["user"]


def test_system_text_and_answer_format_are_settings():
    row = _task(system_text="Be brief.", answer_format="Box it.").train_rows()[0]
    assert row.prompt[0] == Message(role="system", content="Be brief.")
    assert row.prompt[1].content.endswith("in April and May? Box it.")
    bare = _task(answer_format="").train_rows()[0]
    assert bare.prompt[0].content.endswith("in April and May?")


def test_the_end_of_a_local_file_is_held_out():
    task = _task()
    train, held_out = task.train_rows(), task.validation_rows()
    assert [row.facts["line"] for row in train] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.facts["line"] for row in held_out] == [8, 9, 10]
    assert {row.split for row in held_out} == {"test"}
    assert [row.index for row in held_out] == [0, 1, 2]


def test_a_validation_file_is_used_whole_up_to_val_rows():
    task = _task(val_path=str(VAL_EXCERPT))
    assert len(task.train_rows()) == 10
    assert [row.facts["line"] for row in task.validation_rows()] == [1, 2, 3]


def test_rows_limits_the_training_rows_only():
    task = _task(rows=2)
    assert [row.facts["line"] for row in task.train_rows()] == [1, 2]
    assert [row.facts["line"] for row in task.validation_rows()] == [8, 9, 10]


def test_a_held_out_question_is_never_trained_on(tmp_path):
    one, two = {"question": "1?", "answer": "#### 1"}, {"question": "2?", "answer": "#### 2"}
    repeated = _task(path=_write(tmp_path / "repeated.jsonl", [one, two, one]), val_rows=1)
    assert [row.ground_truth for row in repeated.train_rows()] == ["2"]
    with pytest.raises(TaskDataError, match=r"all 10 rows are held out.*lower task\.val_rows"):
        _task(val_rows=10).train_rows()


def test_the_hubs_test_split_is_never_read(monkeypatch):
    train = [{"question": f"{n}?", "answer": f"#### {n}"} for n in range(9)]

    def load_dataset(hub_id, subset, *, split):
        assert (hub_id, subset, split) == ("openai/gsm8k", "main", "train")
        return train

    hub = types.SimpleNamespace(load_dataset=load_dataset)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    task = Gsm8kTask(val_rows=2)
    assert [row.ground_truth for row in task.validation_rows()] == ["7", "8"]
    assert [row.ground_truth for row in task.train_rows()] == list("0123456")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"val_path": "openai/gsm8k"},
            r"task\.val_path=openai/gsm8k is a hub id: give a local file",
        ),
        ({"path": "HuggingFaceH4/MATH-500"}, r"task\.path=.* is a test set.*`copris eval --task"),
    ],
)
def test_what_would_choose_by_a_test_set_is_refused(settings, line):
    with pytest.raises(ValueError, match=line):
        _task(**settings)


@pytest.mark.parametrize("settings", [{"rows": 0}, {"val_rows": 0}])
def test_sizes_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=r"task\.\w+ is 0: set it to 1 or more"):
        _task(**settings)


@pytest.mark.parametrize(
    ("text", "truth", "score"),
    [
        ("She has 48/2 = <<48/2=24>>24.\n#### 72", "72", 1.0),
        ("#### 1,200", "1200", 1.0),
        ("#### $72.00.", "72", 1.0),
        ("#### 72 clips.", "72", 1.0),
        ("The answer is \\boxed{72}.", "72", 1.0),
        ("\\boxed{72} no: #### 7", "72", 0.0),
        ("#### 7 no: \\boxed{72}", "72", 1.0),
        ("#### 1\n#### 2\n#### 72", "72", 1.0),
        ("#### 72\n#### 1", "72", 0.0),
        ("#### 72 73", "72", 0.0),
        ("#### 72.0001", "72", 0.0),
        ("#### 720", "72", 0.0),
        ("#### -72", "72", 0.0),
        ("A: 72", "72", 1.0),
        ("The answer is $1,200 a day.", "1200", 1.0),
        ("The answer is 72.\n#### 7", "72", 0.0),
        ("\\boxed{\\$1{,}200}", "1200", 1.0),
        ("\\boxed{72\\text{ clips}}", "72", 1.0),
        ("#### 9 * 8 = 72", "72", 1.0),
        ("#### She sells 72 clips every day.", "72", 1.0),
        ("#### She sells 72 clips in 3 days.", "72", 0.0),
        ("#### 50%", "50", 1.0),
        ("#### 50%", "0.5", 1.0),
        ("#### 50", "0.5", 0.0),
        ("The answer is 5 or 72.", "72", 0.0),
        ("#### nan", "72", 0.0),
        ("#### inf", "72", 0.0),
        ("#### \u0667\u0662", "72", 0.0),  # ARABIC-INDIC DIGITS 72
        ("####", "72", 0.0),
        ("", "72", 0.0),
        ("#### " + "0" * 100 + "5/2", "2.5", 0.0),  # too long to hand on
        ("#### 2 1/2", "1.5", 0.0),
        ("#### 70+2", "72", 0.0),
        ("#### 80-8", "72", 0.0),
        ("#### 36*2", "72", 0.0),
        ("#### 9^9^9^9^9", "72", 0.0),
        ("\\boxed{\\sum_{i=1}^{10^9} i}", "72", 0.0),
    ],
)
def test_only_the_last_marked_answer_scores(text, truth, score):
    assert _task().score(text, truth).score == score


@pytest.mark.parametrize(
    ("text", "truth", "score"),
    [
        ("#### 5/2", "2.5", 1.0),
        ("\\boxed{\\frac{5}{2}}", "2.5", 1.0),
        ("\\boxed{\\dfrac{-5}{2}}", "-2.5", 1.0),
        ("#### x = 72", "72", 1.0),
        ("#### 72, 73, 74", "73", 0.0),
        ("#### 5/3", "2.5", 0.0),
        ("#### 5/0", "2.5", 0.0),
        ("#### ((((((", "2.5", 0.0),
    ],
)
def test_fractions_are_compared_by_math_verify(text, truth, score):
    pytest.importorskip("math_verify", reason="comes with the extra cpu")
    assert _task().score(text, truth).score == score


@pytest.mark.parametrize(
    ("text", "truth", "score"),
    [
        ("So she makes 9 * 8 = $72 every day.", "72", 1.0),
        ("So she makes $72 in 3 days. I hope this helps!", "72", 1.0),
        ("72", "72", 1.0),
        ("It is 71 or 72.", "72", 0.0),
        ("It is 72. Is that 3?", "72", 0.0),
        ("<think>It is 72.", "72", 0.0),
        ("So she makes $72 and the", "72", 0.0),
        ("She has 72. So it is 7.", "72", 0.0),
    ],
)
def test_a_response_without_a_mark_states_its_number_in_its_last_sentence(text, truth, score):
    verdict = _task().score(text, truth)
    assert verdict.score == score
    assert verdict.reason.endswith("unmarked") or not score


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (("#### 1,200", "#### $1200.00 a day", "\\boxed{1{,}200}", "So it is 1200."), "1200"),
        (("#### 0", "#### -0", "#### 0.00"), "0"),
        (("\\boxed{\\frac12}", "#### 2/4"), "1/2"),
        (("", "####", "no idea"), None),
    ],
)
def test_equal_answers_have_one_text_to_be_counted_by(texts, answer):
    assert {_task().answer(text) for text in texts} == {answer}


@pytest.mark.parametrize("piece", ["9", "#### 5/", "\\boxed{", "(", "\\frac{5}", "5/", "x=", "-"])
def test_a_million_characters_take_no_time(piece):
    started = time.process_time()
    for text in (piece * (1_000_000 // len(piece)), "#### " + piece * (1_000_000 // len(piece))):
        assert _task().score(text, "5").score == 0.0
    assert time.process_time() - started < 1.0
