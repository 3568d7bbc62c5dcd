"""Reads rows of IFEval's schema from a local jsonl file or the hub, and checks them.

A row is ``{"prompt": ..., "instruction_id_list": [...], "kwargs": [{...}, ...]}``; a parameter that
is null counts as not there. Every complaint is one line with the file, the line or row, and the
mend. This file refuses to know how a response is judged.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copris_core.tasks.hub import is_offline, unread
from copris_core.tasks.instruction_constraints import fault_of
from copris_core.tasks.task import TaskDataError

MEND = (
    'every row needs {"prompt": "...", "instruction_id_list": ["punctuation:no_comma"], '
    '"kwargs": [{}]}'
)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One request with its constraints."""

    prompt: str
    """Request and constraints in words."""
    constraints: tuple[str, ...]
    """Ids, IFEval's ``instruction_id_list``; all known."""
    parameters: tuple[dict[str, Any], ...]
    """One dict a constraint, IFEval's ``kwargs`` without its nulls; complete."""
    line: int = 0
    """Line (jsonl) or row (hub) it came from, counted from 1; 0: generated."""


def ground_truth_of(instruction: Instruction) -> str:
    """All that judging needs, as one line of JSON with IFEval's names."""
    truth = {
        "instruction_id_list": instruction.constraints,
        "kwargs": instruction.parameters,
        "prompt": instruction.prompt,
    }
    return json.dumps(truth, sort_keys=True)


@functools.lru_cache(maxsize=1024)  # a group of responses is judged against one row
def read_truth(ground_truth: str) -> Instruction:
    """Undo ``ground_truth_of``, but for the line."""
    truth = json.loads(ground_truth)
    return Instruction(
        prompt=truth["prompt"],
        constraints=tuple(truth["instruction_id_list"]),
        parameters=tuple(truth["kwargs"]),
    )


def read_instructions(path: str) -> list[Instruction]:
    """Read all rows of a local .jsonl file, or of a hub dataset, which has one split, "train".

    Raises:
        TaskDataError: the file is missing, empty or malformed, or the hub can't be reached.
    """
    file = Path(path).expanduser()
    local = file.exists() or file.suffix != "" or path.count("/") != 1
    rows = _jsonl_rows(file) if local else _hub_rows(path)
    records = [_record(row, place, line) for place, line, row in rows]
    if not records:
        raise TaskDataError(f"{path}: no rows; {MEND}")
    return records


def _jsonl_rows(file: Path) -> Iterator[tuple[str, int, Any]]:
    if not file.is_file() or file.suffix != ".jsonl":
        why = "not a .jsonl file" if file.is_file() else "no such file"
        raise TaskDataError(f"{file}: {why}; set task.val_path to a .jsonl file or a hub id")
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{file}:{number}"
            try:
                yield place, number, json.loads(line.strip())
            except (ValueError, RecursionError) as error:  # bad JSON or bad UTF-8
                raise TaskDataError(f"{place}: not JSON ({error}); {MEND}") from error


def _hub_rows(hub_id: str) -> Iterator[tuple[str, int, Any]]:
    is_offline()
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise ValueError("datasets is missing: pip install 'copris[cpu]'") from error
    try:
        rows = datasets.load_dataset(hub_id, split="train")
    except (OSError, ValueError) as error:
        raise unread(hub_id, error, mend="set task.val_path to a .jsonl file") from error
    for number, row in enumerate(rows, start=1):
        yield f"{hub_id} row {number}", number, row


def _record(row: Any, place: str, line: int) -> Instruction:
    if not isinstance(row, dict):
        raise TaskDataError(f"{place}: not an object but {type(row).__name__}; {MEND}")
    prompt, ids, kwargs = (row.get(key) for key in ("prompt", "instruction_id_list", "kwargs"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise TaskDataError(f"{place}: no text under 'prompt'; {MEND}")
    if not isinstance(ids, list) or not ids:
        raise TaskDataError(f"{place}: no list under 'instruction_id_list'; {MEND}")
    if not isinstance(kwargs, list) or len(kwargs) != len(ids):
        raise TaskDataError(f"{place}: not one object of kwargs for each instruction id; {MEND}")
    parameters = tuple(map(_without_nulls, kwargs))
    for constraint, given in zip(ids, parameters, strict=True):
        fault = fault_of(constraint, given)
        if fault is not None:
            raise TaskDataError(f"{place}: {fault}")
    return Instruction(
        prompt=prompt.strip(), constraints=tuple(ids), parameters=parameters, line=line
    )


def _without_nulls(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    return {name: value for name, value in given.items() if value is not None}
