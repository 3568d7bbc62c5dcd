r"""Mathematical problems with an answer in LaTeX: MATH, MATH-500, DeepScaleR, GSM8K and alike.

Rows come from the hub or from a local jsonl or parquet file, in the styles of ``math_records.py``.
Validation rows come from ``val_path``; without it, they are the last ``val_rows`` rows of the
training data, which are then not trained on. A test split or test set is never read here:
``copris eval`` alone does. A question that is held out is never trained on, wherever it came from.
This file refuses to know models and verl; how answers are compared is in ``math_verdict.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from copris_core.tasks.answers import final_answer, own_part
from copris_core.tasks.closing import last_sentence, value_in
from copris_core.tasks.held_out import refuse_test_set
from copris_core.tasks.math_latex import vote_form
from copris_core.tasks.math_records import MathRecord, known_answer, read_math_records
from copris_core.tasks.math_verdict import judge
from copris_core.tasks.task import Message, Row, Split, TaskDataError, Verdict

NAME = "math"
HUB_ID = "agentica-org/DeepScaleR-Preview-Dataset"
HOLD_OUT = "set task.val_path=null, which holds out the last task.val_rows of the training data"
ANSWER_FORMAT = "Let's think step by step and output the final answer within \\boxed{}."
MAX_MARKED_CHARS = 2000  # beyond what can be judged, so that a long answer is told from none


@dataclass(frozen=True, kw_only=True)
class MathTask:
    """Mathematical problems of one file or hub dataset."""

    path: str = HUB_ID
    """Hub id, or a local .jsonl or .parquet file."""
    subset: str | None = None
    """The hub dataset's configuration, such as GSM8K's "main"; None: its only one."""
    val_path: str | None = None
    """Hub id or local file to validate on, no test set; None: the last ``val_rows`` rows."""
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
        refuse_test_set(self.val_path, key="task.val_path", mend=HOLD_OUT)

    @property
    def name(self) -> str:
        """Name in the registry."""
        return NAME

    def train_rows(self) -> list[Row]:
        """Rows to train on.

        Raises:
            TaskDataError: a file is missing or malformed, or nothing is left to train on.
        """
        records, _ = read_math_records(self.path, subset=self.subset)
        asked = {record.key for record in self._held_out()}
        kept = [record for record in records if record.key not in asked][: self.rows]
        if not kept:
            raise TaskDataError(
                f"{self.path}: all {len(records)} rows are held out for validation: "
                "lower task.val_rows or give another task.val_path"
            )
        return self._rows(kept, "train")

    def validation_rows(self) -> list[Row]:
        """Rows held out from training.

        Raises:
            TaskDataError: a file is missing or malformed.
        """
        return self._rows(self._held_out(), "test")

    def score(self, text: str, ground_truth: str) -> Verdict:
        r"""Score 1 when the final answer equals the known one, else 0.

        Args:
            text: a response; its answer is found as ``answers.final_answer`` says, or is what its
                last sentence states (``closing.py``).
            ground_truth: the known answer, alone or marked in a solution.

        Raises:
            ValueError: math-verify is needed and not installed.
        """
        answer, marked = _answer_of(text)
        verdict = judge(answer, known_answer(ground_truth))
        return verdict if marked or not answer else _unmarked(verdict)

    def answer(self, text: str) -> str | None:
        r"""The answer that is judged, as ``math_latex.vote_form`` writes it; None without one."""
        answer, _ = _answer_of(text)
        return vote_form(answer[:MAX_MARKED_CHARS]) if answer else None

    def reference_answer(self, row: Row) -> str:
        """A response that scores 1: the known answer, marked."""
        return f"\\boxed{{{known_answer(row.ground_truth)}}}"

    def _held_out(self) -> list[MathRecord]:
        if self.val_path is None:
            return read_math_records(self.path, subset=self.subset)[0][-self.val_rows :]
        records, _ = read_math_records(self.val_path, splits=("validation", "train"))
        tested = next((record.line for record in records if record.of_test_set), None)
        if tested is not None:
            raise TaskDataError(
                f"{self.val_path}:{tested}: a row of a test set, which training may not see: "
                f"measure on it by `copris eval --task math={self.val_path}`, and {HOLD_OUT}"
            )
        return records[: self.val_rows]

    def _rows(self, records: Sequence[MathRecord], split: Split) -> list[Row]:
        return [self._row(record, split, index) for index, record in enumerate(records)]

    def _row(self, record: MathRecord, split: Split, index: int) -> Row:
        content = f"{record.question} {self.answer_format}".strip()
        system = (Message(role="system", content=self.system_text),) if self.system_text else ()
        asked = (*system, Message(role="user", content=content))
        return Row(
            data_source=NAME,
            prompt=record.messages or asked,
            ability="math",
            ground_truth=record.truth,
            split=split,
            index=index,
            facts={"line": record.line, "subject": record.subject, "level": record.level},
        )


def _answer_of(text: str) -> tuple[str | None, bool]:
    """A response's answer, and whether it is marked or said to be the answer."""
    answer = final_answer(text, most=MAX_MARKED_CHARS)
    if answer is not None:
        return answer, True
    sentence = last_sentence(own_part(text), words=True)
    return value_in(sentence) if sentence else None, False


def _unmarked(verdict: Verdict) -> Verdict:
    return replace(verdict, reason=f"{verdict.reason}, unmarked")
