r"""Reads mathematical questions with their answers from the styles in which such sets are shared.

A row is one of: GSM8K (``question``, ``answer`` with ``####``), MATH (``problem``, ``solution``
with ``\boxed{}``), DeepScaleR, MATH-500, AIME and AMC (``problem`` or ``question``, ``answer``,
perhaps ``subject`` and ``level``), OlympiadBench (``question``, ``final_answer``, a list), or
verl's schema (``prompt``, ``reward_model.ground_truth``). Columns may be capitalised. Every
complaint is one line with the file, the line or row, and the mend. This file refuses to know
prompts and rewards.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copris_core.tasks.answers import BOX, MARK, marked_answer
from copris_core.tasks.held_out import is_test_set
from copris_core.tasks.hub import is_offline, unread
from copris_core.tasks.math_latex import canonical
from copris_core.tasks.records import local_rows, looks_like_hub_id
from copris_core.tasks.task import Message, TaskDataError

MEND = (
    'every row needs {"problem": "...", "answer": "..."}, or a "solution" with \\boxed{...}, or '
    '{"question": "...", "answer": "... #### 42"}, or verl\'s prompt and reward_model'
)
MAX_GOLD_CHARS = 400
QUESTIONS = ("problem", "question")
ANSWERS = ("answer", "final_answer", "expected_answer")
SUBJECTS = ("subject", "type", "subfield")
LEVELS = ("level", "difficulty")
ROLES = ("system", "user")


@dataclass(frozen=True, kw_only=True)
class MathRecord:
    """One checked question with its answer."""

    question: str
    """The question in words and LaTeX; of a row in verl's schema, its user messages."""
    messages: tuple[Message, ...]
    """The prompt of a row in verl's schema, which is used as it is; empty for the other styles."""
    truth: str
    """The answer alone, in LaTeX or plain text, such as ``\\frac{1}{2}``."""
    subject: str
    """Such as ``Algebra``; empty when the row has none."""
    level: int
    """Difficulty, 1..5 in MATH; 0 when the row has none."""
    line: int
    """Line (jsonl) or row (parquet, hub) it came from, counted from 1."""
    of_test_set: bool = False
    """It says itself that it is of a published test set, as MATH-500's ``unique_id`` does."""

    @property
    def key(self) -> str:
        """The question as it is compared with others: without case and spacing."""
        return " ".join(self.question.casefold().split())


def read_math_records(
    path: str, *, subset: str | None = None, splits: tuple[str, ...] = ("train",)
) -> tuple[list[MathRecord], str | None]:
    """Read a local file, or the first split of ``splits`` that a hub dataset has.

    Returns:
        The records, and the split they came from; None for a local file, which has no splits.

    Raises:
        TaskDataError: the file is missing, empty or malformed, or the hub can't be reached.
    """
    file, split = Path(path).expanduser(), None
    if file.exists() or not looks_like_hub_id(path):
        rows = local_rows(file, mend=MEND)
    else:
        split, rows = _hub_rows(path, subset, splits)
    records = [_record(row, place, line) for place, line, row in rows]
    if not records:
        raise TaskDataError(f"{path}: no rows; {MEND}")
    return records, split


def known_answer(text: str) -> str:
    r"""Return the answer in a ground truth: what ``\boxed{}`` or ``####`` marks, or all of it."""
    if BOX not in text and MARK not in text:
        return text.strip()
    return marked_answer(text, most=MAX_GOLD_CHARS) or ""


def _hub_rows(
    hub_id: str, subset: str | None, splits: tuple[str, ...]
) -> tuple[str, Iterator[tuple[str, int, Any]]]:
    is_offline()
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError("datasets is missing: pip install 'copris[cpu]'") from error
    try:
        data = datasets.load_dataset(hub_id, subset)
    except (OSError, ValueError) as error:
        raise unread(hub_id, error, mend="set task.path to a local file") from error
    split = next((each for each in splits if each in data), None)
    if split is None:
        mend = "save the one you want as a local file"
        only_test = set(data) == {"test"} and "measure on it by `copris eval`"
        raise TaskDataError(
            f"{hub_id}: has no split {' or '.join(splits)} but {', '.join(data)}; "
            f"{only_test or mend}"
        )
    rows = enumerate(data[split], start=1)
    return split, ((f"{hub_id} {split} row {number}", number, row) for number, row in rows)


def _record(row: Any, place: str, line: int) -> MathRecord:
    if not isinstance(row, dict):
        raise TaskDataError(f"{place}: not an object but {type(row).__name__}; {MEND}")
    row = _in_lower_case(row)
    messages = _messages(row, place) if "prompt" in row and "reward_model" in row else ()
    if messages:
        question = "\n".join(each.content for each in messages if each.role == "user")
        extra = row.get("extra_info")
        facts = extra if isinstance(extra, dict) else {}
    else:
        question, facts = _question(row, place), row
    return MathRecord(
        question=question,
        messages=messages,
        truth=_truth(row, place),
        subject=str(_first(facts, SUBJECTS) or ""),
        level=_level(_first(facts, LEVELS)),
        line=line,
        of_test_set=str(row.get("unique_id", "")).startswith("test/")
        or is_test_set(str(row.get("data_source", ""))),
    )


def _in_lower_case(row: dict[Any, Any]) -> dict[Any, Any]:
    """A row with ``Problem`` as ``problem``, where it has no ``problem``."""
    lowered = {key.lower(): value for key, value in row.items() if isinstance(key, str)}
    return {**lowered, **row}


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _question(row: Mapping[str, Any], place: str) -> str:
    found = _first(row, QUESTIONS)
    if not isinstance(found, str) or not found.strip():
        raise TaskDataError(f"{place}: no text under 'problem' or 'question'; {MEND}")
    return found.strip()


def _messages(row: Mapping[str, Any], place: str) -> tuple[Message, ...]:
    prompt = row["prompt"]
    wrong = f"{place}: 'prompt' is not a list of messages with role (system, user) and content"
    if not isinstance(prompt, list) or not all(isinstance(each, dict) for each in prompt):
        raise TaskDataError(f"{wrong}; {MEND}")
    for each in prompt:
        if each.get("role") not in ROLES or not isinstance(each.get("content"), str):
            raise TaskDataError(f"{wrong}; {MEND}")
    messages = tuple(Message(role=each["role"], content=each["content"]) for each in prompt)
    if not any(each.role == "user" and each.content.strip() for each in messages):
        raise TaskDataError(f"{place}: 'prompt' has no text of a user; {MEND}")
    return messages


def _truth(row: Mapping[str, Any], place: str) -> str:
    """The first answer that the row states: on its own, marked in its answer or its solution."""
    judged_by = row.get("reward_model")
    stated = judged_by.get("ground_truth") if isinstance(judged_by, dict) else _first(row, ANSWERS)
    stated, solution = _as_text(stated), _as_text(row.get("solution"))
    for text in (stated, solution):
        if not isinstance(text, str) or not text.strip():
            continue
        if text is not stated and BOX not in text:
            continue
        answer = known_answer(text)
        if not canonical(answer[: MAX_GOLD_CHARS + 1]):
            raise TaskDataError(f"{place}: nothing readable marks the answer; {MEND}")
        if len(answer) > MAX_GOLD_CHARS:
            raise TaskDataError(
                f"{place}: an answer of {len(answer)} characters can't be judged; leave the row out"
            )
        return answer
    raise TaskDataError(f"{place}: no answer, and no \\boxed{{}} in a solution; {MEND}")


def _as_text(stated: Any) -> Any:
    """A number as text, 204.0 as "204"; a list of answers as one text; anything else as it is."""
    if isinstance(stated, list) and stated and all(isinstance(each, str) for each in stated):
        return stated[0] if len(stated) == 1 else ", ".join(stated)
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return stated
    return str(int(stated) if stated == int(stated) else stated)


def _level(level: Any) -> int:
    """3 of ``3``, ``"3"`` and ``"Level 3"``; 0 of anything else."""
    digits = str(level).rpartition(" ")[2]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else 0
