r"""GSM8K: grade-school word problems with one number as the answer.

Rows come from the hub or from a local jsonl or parquet file with the columns ``question`` and
``answer`` (``... #### 72``, or the bare number). Validation rows come from the file ``val_path``;
without it, they are the last ``val_rows`` rows of the training data, which are then not trained on.
The hub's test split is never read here: ``copris eval`` alone does. A question that is held out is
never trained on, wherever it came from. This file refuses to know models and verl; how records are
read is in ``records.py``.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from copris_core.tasks.answers import exact_number, final_answer, own_part
from copris_core.tasks.closing import last_sentence, number_in, only_number
from copris_core.tasks.held_out import refuse_test_set
from copris_core.tasks.math_latex import canonical, vote_form
from copris_core.tasks.records import Record, looks_like_hub_id, read_records
from copris_core.tasks.task import Message, Row, Split, TaskDataError, Verdict

NAME = "gsm8k"
HUB_ID = "openai/gsm8k"
ANSWER_FORMAT = 'Let\'s think step by step and output the final answer after "####".'
MAX_EXPRESSION_CHARS = 100
WRONG = Verdict(score=0.0, reason="wrong number")

# What math-verify may see. It has no time limit in a thread, so nothing that can blow up (powers,
# factorials, sums) passes; nor does a sum left for the verifier to work out, nor 2 1/2, which it
# takes for 2 - 1/2.
_FRACTION = re.compile(
    r"""(?!.*[0-9]\s+[0-9])
        (?: \\[dt]?frac | \\left | \\right | [a-zA-Z]\s*=
          | (?:^|(?<=[({=]))- | [0-9\s.,$%{}()/]
        )*""",
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class Gsm8kTask:
    """GSM8K, or any file of its schema."""

    path: str = HUB_ID
    """Hub id, or a local .jsonl or .parquet file."""
    val_path: str | None = None
    """Local file to validate on; None: the last ``val_rows`` training rows."""
    rows: int | None = None
    """Train on the first so many rows; None: all."""
    val_rows: int = 200
    """Validate on at most so many rows."""
    system_text: str = ""
    """System message; empty: none."""
    answer_format: str = ANSWER_FORMAT
    """Appended to every question, after a space; empty: nothing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a size out of range."""
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"task.rows is {self.rows}: set it to 1 or more, or null for all")
        if self.val_rows < 1:
            raise ValueError(f"task.val_rows is {self.val_rows}: set it to 1 or more")
        refuse_test_set(self.path, key="task.path", mend=f"train on {HUB_ID}")
        if self.val_path and looks_like_hub_id(self.val_path) and not Path(self.val_path).exists():
            raise ValueError(
                f"task.val_path={self.val_path} is a hub id: give a local file, or null, which "
                "holds out the last task.val_rows of the training data"
            )

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows to train on.

        Raises:
            TaskDataError: a file is missing or malformed, or nothing is left to train on.
        """
        records, held_out = self._records(), self._held_out()
        asked = {record.question for record in held_out}
        kept = [record for record in records if record.question not in asked][: self.rows]
        if not kept:
            raise TaskDataError(
                f"{self.path}: all {len(records)} rows are held out for validation: "
                "lower task.val_rows or give another task.val_path"
            )
        return [self._row(record, "train", i) for i, record in enumerate(kept)]

    def validation_rows(self) -> list[Row]:
        """Rows held out from training.

        Raises:
            TaskDataError: a file is missing or malformed.
        """
        return [self._row(record, "test", i) for i, record in enumerate(self._held_out())]

    def score(self, text: str, ground_truth: str) -> Verdict:
        r"""Score 1 when the last ``####`` or ``\boxed{}`` marks the right answer, else 0.

        Without either, "the answer is 18" and "A: 18" count, and without those, the number that
        the last sentence states (``closing.py``). An exact number is compared digit by digit; 50%
        is 50 and 0.5; a fraction is left to math-verify.
        """
        answer, marked = _answer_of(text)
        if not answer:
            return Verdict(score=0.0, reason="no answer after #### or in a box")
        number = _number_of(answer)
        if number is not None:
            known = Decimal(ground_truth)
            right = number == known or (number == known * 100 and "%" in answer)
            reason = "correct" if right else WRONG.reason
            return Verdict(score=float(right), reason=reason if marked else f"{reason}, unmarked")
        if len(answer) > MAX_EXPRESSION_CHARS or not _FRACTION.fullmatch(answer):
            return Verdict(score=0.0, reason="answer is not a number")
        equal = _equal_by_math_verify(answer, ground_truth)
        return Verdict(score=1.0, reason="correct by math-verify") if equal else WRONG

    def answer(self, text: str) -> str | None:
        """The answer that is judged, in one form for one number; None where there is none.

        Equal numbers are equal texts: "1,200", "$1200.00 a day" and "1200" are "1200".
        """
        answer, _ = _answer_of(text)
        if not answer:
            return None
        number = _number_of(answer)
        return vote_form(answer) if number is None else f"{number.normalize() + 0:f}"

    def _records(self) -> list[Record]:
        return read_records(self.path, split="train")

    def _held_out(self) -> list[Record]:
        if self.val_path is not None:
            return read_records(self.val_path, split="train")[: self.val_rows]
        return self._records()[-self.val_rows :]

    def _row(self, record: Record, split: Split, index: int) -> Row:
        content = f"{record.question} {self.answer_format}".strip()
        system = (Message(role="system", content=self.system_text),) if self.system_text else ()
        return Row(
            data_source=NAME,
            prompt=(*system, Message(role="user", content=content)),
            ability="math",
            ground_truth=record.truth,
            split=split,
            index=index,
            facts={"line": record.line},
        )


def _answer_of(text: str) -> tuple[str | None, bool]:
    """A response's answer, and whether it is marked or said to be the answer."""
    answer = final_answer(text)
    if answer is not None:
        return answer, True
    sentence = last_sentence(own_part(text))
    return number_in(sentence) if sentence else None, False


def _number_of(answer: str) -> Decimal | None:
    """The exact number that an answer is, or the only one that it names in words."""
    result = canonical(answer.rpartition("=")[2])
    for written in (answer, canonical(answer), result):  # 1,200 and \$1{,}200 and 40 * 30 = 1200
        number = exact_number(written)
        if number is not None:
            return number
    named = only_number(answer)
    return exact_number(canonical(named)) if named else None


def _equal_by_math_verify(answer: str, ground_truth: str) -> bool:
    try:
        from math_verify import parse, verify
    except ModuleNotFoundError as error:
        raise ValueError("math-verify is missing: pip install 'copris[cpu]'") from error
    # Its own time limit uses signals, which fail in the threads that rewards run in.
    gold = parse(f"${ground_truth}$", parsing_timeout=None)
    found = parse(f"\\boxed{{{answer}}}", parsing_timeout=None)
    return bool(verify(gold, found, timeout_seconds=None))
