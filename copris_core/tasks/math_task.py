r"""Mathematical problems with an answer in LaTeX: MATH, MATH-500, DeepScaleR, GSM8K and alike.

Rows come from the hub or from a local jsonl or parquet file, in the styles of ``math_records.py``.
Validation rows come from ``val_path``; without it, from the hub's own test split, or from the last
``val_rows`` rows, which are then not trained on. A question that is held out is never trained on,
wherever it came from. This file refuses to know models and verl; how answers are compared is in
``math_verdict.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from copris_core.tasks.answers import final_answer
from copris_core.tasks.math_records import MathRecord, known_answer, read_math_records
from copris_core.tasks.math_verdict import judge
from copris_core.tasks.task import Message, Row, Split, TaskDataError, Verdict

NAME = "math"
ANSWER_FORMAT = "Let's think step by step and output the final answer within \\boxed{}."
MAX_MARKED_CHARS = 2000  # beyond what can be judged, so that a long answer is told from none


@dataclass(frozen=True, kw_only=True)
class MathTask:
    """Mathematical problems of one file or hub dataset."""

    path: str = "agentica-org/DeepScaleR-Preview-Dataset"
    """Hub id, or a local .jsonl or .parquet file."""
    subset: str | None = None
    """The hub dataset's configuration, such as GSM8K's "main"; None: its only one."""
    val_path: str | None = None
    """Hub id or local file to validate on; None: see the file's docstring."""
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
            text: a response; its answer is found as ``answers.final_answer`` says.
            ground_truth: the known answer, alone or marked in a solution.

        Raises:
            ValueError: math-verify is needed and not installed.
        """
        return judge(final_answer(text, most=MAX_MARKED_CHARS), known_answer(ground_truth))

    def reference_answer(self, row: Row) -> str:
        """A response that scores 1: the known answer, marked."""
        return f"\\boxed{{{known_answer(row.ground_truth)}}}"

    def _held_out(self) -> list[MathRecord]:
        if self.val_path is not None:
            records, _ = read_math_records(self.val_path, splits=("test", "train"))
            return records[: self.val_rows]
        records, split = read_math_records(self.path, subset=self.subset, splits=("test", "train"))
        # Only a test split is there to be held out; of anything else, the end.
        return records[: self.val_rows] if split == "test" else records[-self.val_rows :]

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
