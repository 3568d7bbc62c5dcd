r"""STEM: generated problems of physics, chemistry and biology with units and tolerances.

Templates are in ``stem_templates_*.py`` as laws; a problem is a law, the quantity asked, numbers,
a unit for each number and one for the answer, and a wording. What may be asked is worked out from
the law, and exactly what its formula needs is given. This file refuses to know any law.
"""

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from copris_core.tasks import (
    stem_templates_biology,
    stem_templates_biology_organisms,
    stem_templates_chemistry,
    stem_templates_chemistry_energy,
    stem_templates_physics_fields,
    stem_templates_physics_heat,
    stem_templates_physics_motion,
)
from copris_core.tasks.stem_answer import Truth, judge
from copris_core.tasks.stem_law import Law
from copris_core.tasks.stem_problem import Problem, distinct, draw_problem
from copris_core.tasks.task import Message, Row, Split, Verdict

NAME = "stem"
SUBJECTS = ("physics", "chemistry", "biology")
LEVELS = (1, 2, 3)
HELD_OUT_ONE_IN = 5
ANSWER_FORMAT = (
    "Let's think step by step and output the final answer, with its unit, within \\boxed{}."
)

LAWS: tuple[Law, ...] = (
    *stem_templates_physics_motion.LAWS,
    *stem_templates_physics_heat.LAWS,
    *stem_templates_physics_fields.LAWS,
    *stem_templates_chemistry.LAWS,
    *stem_templates_chemistry_energy.LAWS,
    *stem_templates_biology.LAWS,
    *stem_templates_biology_organisms.LAWS,
)


def split_of(law: str, asked: str, known: Mapping[str, float]) -> Split:
    """Split that owns a problem: one in five is held out, whatever its wording, units or seed.

    Args:
        law: name of the law.
        asked: symbol asked.
        known: values given, in SI.
    """
    numbers = ",".join(f"{symbol}={value:.6g}" for symbol, value in sorted(known.items()))
    digest = zlib.crc32(f"{law}/{asked}/{numbers}".encode())
    return "test" if digest % HELD_OUT_ONE_IN == 0 else "train"


@dataclass(frozen=True, kw_only=True)
class StemTask:
    """Generated STEM problems with a seed, sizes and a choice of subjects and levels."""

    rows: int = 8192
    """Training rows; problems may repeat."""
    val_rows: int = 200
    """Held-out rows, no problem twice; at most 2000."""
    subjects: Sequence[str] = SUBJECTS
    """Which of physics, chemistry and biology are asked."""
    levels: Sequence[int] = LEVELS
    """Which levels are asked: 1, one law with conversions; 2, two steps; 3, three or more."""
    seed: int = 0
    """Decides which problems are drawn; never which split owns one."""
    answer_format: str = ANSWER_FORMAT
    """Appended to every question, after a space; empty: nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size out of range, or a subject or level that there isn't."""
        if self.rows < 1:
            raise ValueError(f"task.rows is {self.rows}: set it to 1 or more")
        if not 1 <= self.val_rows <= 2000:
            raise ValueError(f"task.val_rows is {self.val_rows}: set it to 1..2000")
        _check_choice("subjects", self.subjects, SUBJECTS)
        _check_choice("levels", self.levels, LEVELS)

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    @property
    def laws(self) -> list[Law]:
        """Laws of the subjects and levels chosen."""
        return [law for law in LAWS if law.subject in self.subjects and law.level in self.levels]

    def train_rows(self) -> list[Row]:
        """Rows of the training split."""
        problems = self.problems("train")
        return [self._row(next(problems), "train", i) for i in range(self.rows)]

    def validation_rows(self) -> list[Row]:
        """Rows of the held-out split."""
        problems = distinct(self.problems("test"))
        return [self._row(next(problems), "test", i) for i in range(self.val_rows)]

    def score(self, text: str, ground_truth: str) -> Verdict:
        """Score 1 for the right number with a unit of the right dimension, else 0; see judge."""
        return judge(text, Truth.load(ground_truth))

    def reference_answer(self, row: Row) -> str:
        """A response that scores 1."""
        truth = Truth.load(row.ground_truth)
        return f"\\boxed{{{truth.value!r} {truth.unit}}}"

    def problems(self, split: Split) -> Iterator[Problem]:
        """Problems of a split, without end; some may repeat."""
        rng = random.Random(f"{NAME} {split} {self.seed}")
        laws = self.laws
        while True:
            problem = draw_problem(rng, rng.choice(laws))
            if split_of(problem.law.name, problem.asked, problem.known) == split:
                yield problem

    def _row(self, problem: Problem, split: Split, index: int) -> Row:
        content = f"{problem.question} {self.answer_format}".strip()
        return Row(
            data_source=NAME,
            prompt=(Message(role="user", content=content),),
            ability="stem",
            ground_truth=problem.truth.dump(),
            split=split,
            index=index,
            facts={
                "law": problem.law.name,
                "asked": problem.asked,
                "subject": problem.law.subject,
                "level": problem.law.level,
            },
        )


def _check_choice(
    field: str, chosen: Sequence[str] | Sequence[int], known: Sequence[str] | Sequence[int]
) -> None:
    if not chosen or isinstance(chosen, str) or not set(chosen) <= set(known):
        raise ValueError(f"task.{field} is {chosen!r}: set it to one or more of {list(known)}")
