"""The verifiers against labels: endings of real responses, and the cases other graders are held to.

Where each comes from: tests/data/README.md.
"""

import json
from pathlib import Path

import pytest

from copris_core.tasks.gsm8k import Gsm8kTask
from copris_core.tasks.math_task import MathTask

DATA = Path(__file__).parents[1] / "data"


def _cases(file):
    """Lists of source, gold, whether it is right, ending."""
    return [json.loads(line) for line in (DATA / file).read_text().splitlines()]


def _agreement(task, file, *, own=True):
    """Share of a file's endings that the task scores as labelled, and what to say of the others."""
    cases = [case for case in _cases(file) if own or case[0] != "own"]
    wrong = [
        f"{'right' if right else 'wrong'} by its label ({source}): gold {gold!r}, "
        f"read {task.answer(ending)!r} of {ending[-80:]!r}"
        for source, gold, right, ending in cases
        if task.score(ending, gold).score != float(right)
    ]
    share = 1 - len(wrong) / len(cases)
    return share, "\n".join([f"agreement {share:.4f} on {len(cases)} endings of {file}", *wrong])


def test_gsm8k_agrees_with_the_labels_of_99_in_100_responses():
    share, told = _agreement(Gsm8kTask(), "gsm8k_responses.jsonl")
    assert share >= 0.99, told


@pytest.mark.slow  # math-verify starts in a helper process
def test_math_agrees_with_the_labels_of_97_in_100_responses():
    pytest.importorskip("math_verify", reason="comes with the extra cpu")
    for own in (True, False):  # nor do the cases that we wrote carry those of others
        share, told = _agreement(MathTask(), "math_responses.jsonl", own=own)
        assert share >= 0.97, told


@pytest.mark.parametrize("file", ["gsm8k_responses.jsonl", "math_responses.jsonl"])
def test_the_labels_are_of_both_kinds_and_no_ending_is_there_twice(file):
    cases = _cases(file)
    assert len({(gold, ending) for _, gold, _, ending in cases}) == len(cases) > 150
    assert 0.1 < sum(not right for _, _, right, _ in cases) / len(cases) < 0.6
