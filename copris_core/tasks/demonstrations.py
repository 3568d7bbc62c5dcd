"""Worked answers to the "days" task, with planted bad habits, to warm up the tiny model.

The habits give reinforcement learning something to find: most demonstrations guess, some slip and
some recheck for a long time. Only ``scripts/make_tiny_model.py`` uses this file.
"""

import random
from dataclasses import dataclass

from copris_core.tasks.arithmetic import MAX_DAYS, MAX_STOCK, DaysProblem, draw_days

GUESS_PREFIX = "I guess"
MAX_ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How the writer of a demonstration works; all fields are probabilities."""

    guess: float
    """Answers without working it out."""
    random_guess: float
    """A guess is drawn blindly instead of being the true answer."""
    slip: float
    """A subtraction is written wrong."""
    mend: float
    """A slip is noticed and corrected at once."""
    recheck: float
    """After the last step, works the whole problem out again."""


CLEAN = Habits(guess=0.05, random_guess=0.3, slip=0.0, mend=0.5, recheck=0.05)
NOISY = Habits(guess=0.6, random_guess=0.7, slip=0.05, mend=0.5, recheck=0.1)


def demonstrate(problem: DaysProblem, rng: random.Random, habits: Habits) -> str:
    """Write a response: a guess, or a line ``Day k: <<x-d=y>>`` for each step; then the answer."""
    if rng.random() < habits.guess:
        blind = rng.random() < habits.random_guess
        guess = draw_days(rng) if blind else problem.days
        return f"{GUESS_PREFIX} it is {guess}.\n#### {guess}"
    lines, day = _work_out(problem, rng, habits)
    for _ in range(MAX_ATTEMPTS - 1):
        if rng.random() >= habits.recheck:
            break
        again, day = _work_out(problem, rng, habits)
        lines += ["Let me check again.", *again]
    return "\n".join([*lines, f"#### {day}"])


def _work_out(problem: DaysProblem, rng: random.Random, habits: Habits) -> tuple[list[str], int]:
    left, day = problem.stock, 0
    lines: list[str] = []
    while left > 0 and day < MAX_DAYS + 10:  # unmended slips may never reach zero
        day += 1
        written, after = _subtract(left, problem.per_day, rng, habits)
        lines += [f"Day {day}: {written[0]}", *(f"Wait, {more}" for more in written[1:])]
        left = after
    return lines, day


def _subtract(left: int, per_day: int, rng: random.Random, habits: Habits) -> tuple[list[str], int]:
    after = max(0, left - per_day)
    right = f"<<{left}-{per_day}={after}>>"
    if rng.random() >= habits.slip:
        return [right], after
    slipped = max(0, min(MAX_STOCK, after + rng.choice((-10, -2, -1, 1, 2, 10))))
    wrong = f"<<{left}-{per_day}={slipped}>>"
    if rng.random() < habits.mend:
        return [wrong, right], after
    return [wrong], slipped
