"""Demonstrations of logic and instruction: right when careful, wrong as often as planted."""

import math
import random
import re
from pathlib import Path

import pytest

from copris_core.tasks.demonstrations import GUESS_PREFIX, NOISY, Habits
from copris_core.tasks.demonstrations_prorl import (
    CARELESS,
    INSTRUCTION,
    LOGIC,
    Manners,
    demonstrate_instruction,
    demonstrate_logic,
)
from copris_core.tasks.instruction_task import InstructionTask
from copris_core.tasks.logic_task import LogicTask

CONFIG = Path(__file__).parents[2] / "configs" / "task" / "tiny_mix.yaml"
FLAWLESS = Habits(guess=0.0, random_guess=0.0, slip=0.0, mend=0.0, recheck=0.0)
ATTENTIVE = Manners(forget=0.0, comma=0.5, ramble=0.3)


@pytest.fixture(scope="module")
def logic():
    """Rows of both logic datasets."""
    return LogicTask(rows=300, **LOGIC).train_rows()


@pytest.fixture(scope="module")
def instruction():
    """Rows with one or two constraints."""
    return InstructionTask(rows=300, **INSTRUCTION).train_rows()


def _scores(task, rows, write, manner, *, times=4):
    rng = random.Random(0)
    written = [(row, write(row, rng, manner)) for row in rows * times]
    return [(text, task.score(text, row.ground_truth).score) for row, text in written]


@pytest.mark.parametrize("recheck", [0.0, 1.0])
def test_without_slips_and_guesses_every_puzzle_is_solved(logic, recheck):
    habits = Habits(guess=0.0, random_guess=0.0, slip=0.0, mend=0.0, recheck=recheck)
    assert {score for _, score in _scores(LogicTask(), logic, demonstrate_logic, habits)} == {1.0}


def test_puzzles_are_worked_out_one_step_a_line(logic):
    for row in logic:
        text = demonstrate_logic(row, random.Random(0), FLAWLESS)
        steps = re.findall(r"(-?\d+)([-+])(\d+)=(-?\d+)\n", text)
        assert len(steps) == text.count("\n")
        assert all(int(a) + int(sign + b) == int(c) for a, sign, b, c in steps)
        numbers = [int(number) for number in re.findall(r"\d+", row.prompt[0].content)]
        if row.facts["dataset"] == "gcd":
            assert text.endswith(f">{math.gcd(*numbers)}</answer>")


def test_six_puzzles_in_ten_are_guessed_and_most_guesses_are_wrong(logic):
    scored = _scores(LogicTask(), logic, demonstrate_logic, NOISY)
    guesses = [score for text, score in scored if text.startswith(GUESS_PREFIX)]
    worked = [score for text, score in scored if not text.startswith(GUESS_PREFIX)]
    assert abs(len(guesses) / len(scored) - 0.6) < 0.06  # four deviations of 1200 draws
    assert 0.3 < sum(guesses) / len(guesses) < 0.5
    assert 0.8 < sum(worked) / len(worked) < 0.95


def test_the_worst_habits_still_end(logic):
    endless = Habits(guess=0.0, random_guess=0.0, slip=1.0, mend=0.0, recheck=1.0)
    for text, _ in _scores(LogicTask(), logic, demonstrate_logic, endless, times=1):
        assert text.count("check again") == 3
        assert text.endswith("</answer>")


def test_whoever_forgets_nothing_follows_every_constraint(instruction):
    scored = _scores(InstructionTask(), instruction, demonstrate_instruction, ATTENTIVE)
    assert {score for _, score in scored} == {1.0}


def test_whoever_forgets_a_constraint_does_not_follow_it(instruction):
    forgetful = Manners(forget=1.0, comma=0.5, ramble=0.3)
    scored = _scores(InstructionTask(), instruction, demonstrate_instruction, forgetful)
    assert {score for _, score in scored} == {0.0}


def test_careless_writers_follow_half(instruction):
    scored = _scores(InstructionTask(), instruction, demonstrate_instruction, CARELESS)
    assert 0.44 < sum(score for _, score in scored) / len(scored) < 0.56


def test_every_constraint_is_drawn(instruction):
    asked = {each for row in instruction for each in row.facts["constraints"].split()}
    assert asked == set(INSTRUCTION["constraints"])


def test_the_config_trains_on_what_was_demonstrated():
    yaml = pytest.importorskip("yaml")
    parts = yaml.safe_load(CONFIG.read_text())["task"]["parts"]
    sizes = {"weight": 1, "rows": 4096, "val_rows": 100}
    assert parts == {
        "days": sizes,
        "logic": {**sizes, **LOGIC},
        "instruction": {**sizes, **INSTRUCTION},
    }
