"""Reads rows from a file in verl's schema, as ``copris data make`` and verl's scripts write them.

A row has ``data_source``, ``prompt`` (a list of messages), ``reward_model.ground_truth``, and where
they are known ``ability`` and ``extra_info``. Every complaint is one line with the file, the line
or row, and the mend. Split and index are given anew; other facts of ``extra_info`` are kept. This
file refuses to know which task judges a row.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copris_core.tasks.row_checks import ROLES, is_fact, is_text
from copris_core.tasks.task import Message, Row, Split, TaskDataError

COLUMNS = ("data_source", "prompt", "ability", "reward_model", "extra_info")
GIVEN_ANEW = ("split", "index")
PROMPT = 'prompt: [{"role": "user", "content": "..."}]'
REWARD_MODEL = 'reward_model: {"style": "rule", "ground_truth": "..."}'


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One checked row and where it stands."""

    row: Row
    """The row; its index is the position in the file."""
    place: str
    """``file:line`` of jsonl, ``file row N`` of parquet; counted from 1."""


def read_rows(file: Path, *, split: Split) -> list[FileRow]:
    """Read and check all rows of a file in verl's schema.

    Raises:
        TaskDataError: the file is missing, empty or malformed.
    """
    rows = [
        FileRow(row=_row(given, place, split, index), place=place)
        for index, (place, given) in enumerate(_objects(file))
    ]
    if not rows:
        raise TaskDataError(f"{file}: no rows; write one, or give another file")
    return rows


def _objects(file: Path) -> Iterator[tuple[str, Any]]:
    """Every row of a file with its place."""
    if not file.is_file():
        raise TaskDataError(f"{file}: no such file; give a .parquet or .jsonl file")
    if file.suffix == ".jsonl":
        return _jsonl_objects(file)
    if file.suffix == ".parquet":
        return _parquet_objects(file)
    raise TaskDataError(f"{file}: unknown kind of file; give a .parquet or .jsonl file")


def _jsonl_objects(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield f"{file}:{number}", json.loads(line.strip())
            except (ValueError, RecursionError) as error:  # bad JSON, UTF-8 or depth
                raise TaskDataError(f"{file}:{number}: not JSON ({error}); mend it") from error


def _parquet_objects(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ValueError("pyarrow is missing: pip install 'copris[cpu]'") from error
    try:
        rows = pq.read_table(file).to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise TaskDataError(f"{file}: not a parquet file ({reason}); write it again") from error
    for number, row in enumerate(rows, start=1):
        yield f"{file} row {number}", row


def _row(given: Any, place: str, split: Split, index: int) -> Row:
    if not isinstance(given, dict):
        raise TaskDataError(f"{place}: not an object but {type(given).__name__}; give its columns")
    for column in given:
        if column not in COLUMNS and given[column] is not None:
            raise TaskDataError(f"{place}: column {column!r} would be lost; remove it")
    return Row(
        data_source=_text(given.get("data_source"), place, "data_source", "days"),
        prompt=_prompt(given.get("prompt"), place),
        ability=_text(given.get("ability") or "unknown", place, "ability", "math"),
        ground_truth=_ground_truth(given.get("reward_model"), place),
        split=split,
        index=index,
        facts=_facts(given.get("extra_info"), place),
    )


def _text(value: object, place: str, key: str, example: str) -> str:
    if not is_text(value):
        raise TaskDataError(f"{place}: {key} is {value!r}; give text, such as {example!r}")
    return str(value)


def _prompt(given: Any, place: str) -> tuple[Message, ...]:
    if not isinstance(given, list) or not given:
        raise TaskDataError(f"{place}: no list of messages under 'prompt'; give {PROMPT}")
    for message in given:
        if not isinstance(message, dict) or not is_text(message.get("content")):
            raise TaskDataError(f"{place}: a message without text; give {PROMPT}")
        if message.get("role") not in ROLES:
            raise TaskDataError(
                f"{place}: a message with the role {message.get('role')!r}; use one of {ROLES}"
            )
    if given[-1]["role"] != "user":
        raise TaskDataError(f"{place}: nobody asks at the end of the prompt; give {PROMPT}")
    return tuple(Message(role=each["role"], content=each["content"]) for each in given)


def _ground_truth(given: Any, place: str) -> str:
    if not isinstance(given, dict):
        raise TaskDataError(f"{place}: no object under 'reward_model'; give {REWARD_MODEL}")
    if given.get("style") not in (None, "rule"):
        raise TaskDataError(
            f"{place}: reward_model.style is {given['style']!r}; only 'rule' is judged by a task"
        )
    return _text(given.get("ground_truth"), place, "reward_model.ground_truth", "42")


def _facts(given: Any, place: str) -> Mapping[str, int | str]:
    """The facts of a row; what is no fact is kept as JSON text."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise TaskDataError(f"{place}: extra_info is {given!r}; give an object, or leave it out")
    kept = {k: v for k, v in given.items() if k not in GIVEN_ANEW and v is not None}
    for key in kept:
        _text(key, place, "a key of extra_info", "level")
    return {k: v if is_fact(v) else _json(v, place, k) for k, v in kept.items()}


def _json(value: Any, place: str, key: str) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise TaskDataError(f"{place}: extra_info.{key}: {error}; write it as text") from error
