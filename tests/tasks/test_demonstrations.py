"""Demonstrations: the habits they show come as often as they are planted."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from copris_core.tasks.arithmetic import DaysTask, draw_problem
from copris_core.tasks.demonstrations import GUESS_PREFIX, NOISY, Habits, demonstrate

FLAWLESS = Habits(guess=0.0, random_guess=0.0, slip=0.0, mend=0.0, recheck=0.0)


def _noisy(count):
    rng = random.Random(0)
    problems = [draw_problem(rng, split="train") for _ in range(count)]
    return [(problem, demonstrate(problem, rng, NOISY)) for problem in problems]


def _right(problem, text):
    return DaysTask().score(text, str(problem.days)).score


@given(seed=st.integers(), recheck=st.sampled_from([0.0, 0.5, 1.0]))
def test_without_slips_and_guesses_every_demonstration_is_right(seed, recheck):
    rng = random.Random(seed)
    problem = draw_problem(rng, split="train")
    habits = Habits(guess=0.0, random_guess=0.0, slip=0.0, mend=0.0, recheck=recheck)
    text = demonstrate(problem, rng, habits)
    assert _right(problem, text)
    for left, rate, after in re.findall(r"<<(\d+)-(\d+)=(\d+)>>", text):
        assert int(after) == max(0, int(left) - int(rate))


def test_steps_are_written_one_a_line():
    rng = random.Random(0)
    problem = next(
        p for p in (draw_problem(rng, split="train") for _ in range(1000)) if p.days == 3
    )
    a, d = problem.stock, problem.per_day
    assert demonstrate(problem, rng, FLAWLESS) == (
        f"Day 1: <<{a}-{d}={a - d}>>\nDay 2: <<{a - d}-{d}={a - 2 * d}>>\n"
        f"Day 3: <<{a - 2 * d}-{d}=0>>\n#### 3"
    )


def test_six_in_ten_guess_and_most_guesses_are_wrong():
    guesses = [pair for pair in _noisy(4000) if pair[1].startswith(GUESS_PREFIX)]
    # 4000 draws at 0.6 have a standard deviation of 0.0077; 4 of them are 0.031.
    assert abs(len(guesses) / 4000 - 0.6) < 0.031
    # 0.3 are the truth, and a blind guess hits about one time in ten: 0.3 + 0.7 x 0.1 = 0.37.
    assert 0.32 < sum(_right(*pair) for pair in guesses) / len(guesses) < 0.45


def test_worked_answers_slip_mend_and_recheck():
    worked = [pair for pair in _noisy(4000) if not pair[1].startswith(GUESS_PREFIX)]
    steps = sum(text.count("Day ") for _, text in worked)
    mended = sum(text.count("Wait, ") for _, text in worked)
    assert abs(mended / steps - 0.05 * 0.5) < 0.01
    rechecked = sum("check again" in text for _, text in worked) / len(worked)
    assert abs(rechecked - 0.1) < 0.03
    assert 0.8 < sum(_right(*pair) for pair in worked) / len(worked) < 0.95


def test_the_worst_habits_still_end():
    endless = Habits(guess=0.0, random_guess=0.0, slip=1.0, mend=0.0, recheck=1.0)
    rng = random.Random(0)
    for _ in range(200):
        text = demonstrate(draw_problem(rng, split="train"), rng, endless)
        assert text.count("check again") == 3
        assert "\n#### " in text
