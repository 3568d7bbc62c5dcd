"""The "days" task: how many days until N things are gone at d a day, that is ceil(N / d).

Small enough for a model of half a million weights, with what makes reasoning rollouts hard: the
number of steps is log-normal, so a batch has a long tail. Answers end as GSM8K's do (``#### 5``).
This file refuses to know models, tokenizers and how a response is sampled.
"""

import math
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from copris_core.tasks.answers import exact_number, marked_answer
from copris_core.tasks.task import Message, Row, Split, Verdict

NAME = "days"
MAX_STOCK = 99  # two digits: the subtraction stays learnable
MAX_PER_DAY = 6
MAX_DAYS = 60
MEDIAN_DAYS = 4.0
SIGMA_DAYS = 0.9
HELD_OUT_ONE_IN = 5

PEOPLE = ("Tom", "Ann", "Sam", "Mia", "Leo", "Eva", "Max", "Zoe")
THINGS = ("coins", "apples", "books", "cards", "pens", "shells")
TEMPLATES = (
    "{person} needs {stock} more {thing} and gets {per_day} each day. How many days will it take?",
    "{person} has {stock} {thing} and gives away {per_day} each day. "
    "How many days until none are left?",
)


@dataclass(frozen=True, kw_only=True)
class DaysProblem:
    """One question of the task."""

    stock: int
    """N, things at the start; 1..99."""
    per_day: int
    """d, things a day; 1..6."""
    question: str
    """The question in words."""

    @property
    def days(self) -> int:
        """The answer, ceil(N / d)."""
        return -(-self.stock // self.per_day)


def split_of(stock: int, per_day: int) -> Split:
    """Split that owns a pair (N, d): one pair in five is held out, whatever the wording or seed."""
    digest = zlib.crc32(f"{stock}/{per_day}".encode())
    return "test" if digest % HELD_OUT_ONE_IN == 0 else "train"


def draw_days(rng: random.Random) -> int:
    """Draw a number of steps: round(lognormal(median 4, sigma 0.9)), clipped to 1..60."""
    return max(1, min(MAX_DAYS, round(rng.lognormvariate(math.log(MEDIAN_DAYS), SIGMA_DAYS))))


def draw_problem(rng: random.Random, *, split: Split) -> DaysProblem:
    """Draw a problem of one split."""
    while True:
        days = draw_days(rng)
        per_day = rng.randint(1, min(MAX_PER_DAY, MAX_STOCK // days))
        stock = per_day * (days - 1) + rng.randint(1, per_day)
        if split_of(stock, per_day) == split:
            break
    question = rng.choice(TEMPLATES).format(
        person=rng.choice(PEOPLE), thing=rng.choice(THINGS), stock=stock, per_day=per_day
    )
    return DaysProblem(stock=stock, per_day=per_day, question=question)


@dataclass(frozen=True, kw_only=True)
class DaysTask:
    """The "days" task with a seed and sizes."""

    rows: int = 8192
    """Training rows; questions may repeat."""
    val_rows: int = 200
    """Held-out rows, no question twice; at most 2000."""
    seed: int = 0
    """Decides which problems are drawn; never which split owns a pair (N, d)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size out of range."""
        if self.rows < 1:
            raise ValueError(f"task.rows is {self.rows}: set it to 1 or more")
        if not 1 <= self.val_rows <= 2000:
            raise ValueError(f"task.val_rows is {self.val_rows}: set it to 1..2000")

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows of the training split."""
        rng = random.Random(f"{NAME} train {self.seed}")
        return [_row(draw_problem(rng, split="train"), "train", i) for i in range(self.rows)]

    def validation_rows(self) -> list[Row]:
        """Rows of the held-out split."""
        problems = _distinct_held_out(random.Random(f"{NAME} test {self.seed}"))
        return [_row(next(problems), "test", i) for i in range(self.val_rows)]

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Score 1 when the number after the last ``####`` is the answer, else 0."""
        answer = marked_answer(text, boxed=False)
        if answer is None:
            return Verdict(score=0.0, reason="no answer after ####")
        number = exact_number(answer)
        if number is None:
            return Verdict(score=0.0, reason="no number after ####")
        correct = number == int(ground_truth)
        return Verdict(score=float(correct), reason="correct" if correct else "wrong number")


def _distinct_held_out(rng: random.Random) -> Iterator[DaysProblem]:
    seen: set[str] = set()
    while True:
        problem = draw_problem(rng, split="test")
        if problem.question not in seen:
            seen.add(problem.question)
            yield problem


def _row(problem: DaysProblem, split: Split, index: int) -> Row:
    return Row(
        data_source=NAME,
        prompt=(Message(role="user", content=problem.question),),
        ability="math",
        ground_truth=str(problem.days),
        split=split,
        index=index,
        facts={"stock": problem.stock, "per_day": problem.per_day, "days": problem.days},
    )
