"""Functions stay at most 60 lines, files at most 400: rule 1 of the house style."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ("copris_core", "recipes", "scripts")
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
ALLOWED: frozenset[str] = frozenset()  # findings word for word; it only ever shrinks


def oversize(root: Path) -> list[str]:
    """Every function and file over its limit, one finding a line."""
    sources = sorted(path for room in MEASURED for path in (root / room).rglob("*.py"))
    return [finding for path in sources for finding in findings_of(path, root)]


def findings_of(path: Path, root: Path) -> list[str]:
    """The findings of one file."""
    text, place = path.read_text(encoding="utf-8"), path.relative_to(root)
    lengths = [(f"{place}", len(text.splitlines()), MAX_FILE_LINES)]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            num_lines = (node.end_lineno or first) - first + 1
            lengths.append((f"{place}: {node.name}", num_lines, MAX_FUNCTION_LINES))
    return [
        f"{name} has {lines} lines, over {most}" for name, lines, most in lengths if lines > most
    ]


def test_no_function_and_no_file_is_oversize() -> None:
    assert set(oversize(ROOT)) == ALLOWED


def test_one_line_too_many_is_found(tmp_path: Path) -> None:
    room = tmp_path / "copris_core" / "losses"
    room.mkdir(parents=True)
    # A function of `def` + 59 lines is 60 long; a file of 400 comments is 400 long.
    (room / "fits.py").write_text("def fits():\n" + "    x = 1\n" * 59)
    (room / "fits_too.py").write_text("#\n" * 400)
    (room / "long_function.py").write_text("@staticmethod\ndef wide():\n" + "    x = 1\n" * 59)
    (room / "long_file.py").write_text("#\n" * 401)

    assert oversize(tmp_path) == [
        "copris_core/losses/long_file.py has 401 lines, over 400",
        "copris_core/losses/long_function.py: wide has 61 lines, over 60",
    ]
