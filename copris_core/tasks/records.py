"""Reads question-and-answer records from the hub, a jsonl file or a parquet file, and checks them.

Every complaint is one line with the file, the line or row, and the mend. This file refuses to know
prompts and rewards.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copris_core.tasks.answers import exact_number, marked_answer
from copris_core.tasks.hub import is_offline, unread
from copris_core.tasks.task import Split, TaskDataError

MEND = 'every row needs {"question": "...", "answer": "... #### 42"}'
HUB_SUBSET = "main"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One checked question with its answer."""

    question: str
    """The question in words."""
    truth: str
    """The answer as a plain decimal number, such as -1200.5."""
    line: int
    """Line (jsonl) or row (parquet, hub) it came from, counted from 1."""


def read_records(path: str, *, split: Split) -> list[Record]:
    """Read all records of a local file (``split`` is then ignored) or of a hub dataset's split.

    Raises:
        TaskDataError: the file is missing, empty or malformed, or the hub can't be reached.
    """
    file = Path(path).expanduser()
    local = file.exists() or not looks_like_hub_id(path)
    rows = local_rows(file, mend=MEND) if local else _hub_rows(path, split)
    records = [_record(row, place, line) for place, line, row in rows]
    if not records:
        raise TaskDataError(f"{path}: no rows; {MEND}")
    return records


def looks_like_hub_id(path: str) -> bool:
    """Whether a setting that names no file here may name a dataset on the hub."""
    parts = path.split("/")
    return (
        len(parts) == 2
        and all(parts)
        and parts[0] not in {".", "..", "~"}
        and not (path.endswith((".jsonl", ".parquet", ".json", ".csv")))
    )


def local_rows(file: Path, *, mend: str) -> Iterator[tuple[str, int, Any]]:
    """Read the rows of a jsonl or parquet file as (place for a message, number from 1, row).

    Raises:
        TaskDataError: the file is missing or unreadable; ends with ``mend``, which says what a row
            must look like.
    """
    if not file.is_file():
        raise TaskDataError(f"{file}: no such file; set task.path to a .jsonl or .parquet file")
    if file.suffix not in (".jsonl", ".parquet"):
        raise TaskDataError(f"{file}: unknown kind of file; give a .jsonl or .parquet file")
    return _jsonl_rows(file, mend) if file.suffix == ".jsonl" else _parquet_rows(file)


def _jsonl_rows(file: Path, mend: str) -> Iterator[tuple[str, int, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{file}:{number}"
            try:
                yield place, number, json.loads(line.strip())
            except ValueError as error:  # bad JSON or bad UTF-8
                raise TaskDataError(f"{place}: not JSON ({error}); {mend}") from error


def _parquet_rows(file: Path) -> Iterator[tuple[str, int, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ValueError("pyarrow is missing: pip install 'copris[cpu]'") from error
    try:
        rows = pq.read_table(file).to_pylist()
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise TaskDataError(f"{file}: not a parquet file ({reason}); write it again") from error
    for number, row in enumerate(rows, start=1):
        yield f"{file} row {number}", number, row


def _hub_rows(hub_id: str, split: Split) -> Iterator[tuple[str, int, Any]]:
    is_offline()
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError("datasets is missing: pip install 'copris[cpu]'") from error
    try:
        rows = datasets.load_dataset(hub_id, HUB_SUBSET, split=split)
    except (OSError, ValueError) as error:
        raise unread(hub_id, error, mend="set task.path to a local file") from error
    for number, row in enumerate(rows, start=1):
        yield f"{hub_id} {split} row {number}", number, row


def _record(row: Any, place: str, line: int) -> Record:
    if not isinstance(row, dict):
        raise TaskDataError(f"{place}: not an object but {type(row).__name__}; {MEND}")
    for key in ("question", "answer"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise TaskDataError(f"{place}: no text under {key!r}; {MEND}")
    answer = marked_answer(row["answer"])
    number = exact_number(row["answer"] if answer is None else answer)
    if number is None:
        raise TaskDataError(f"{place}: no number in 'answer' after ####; {MEND}")
    return Record(question=row["question"].strip(), truth=f"{number:f}", line=line)
