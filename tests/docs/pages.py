"""What stands in the docs as code."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(page.relative_to(ROOT))
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*/README.md"))
)
PROGRAMS = re.compile(
    r"(\.venv/bin/)?(copris|bash|sh|python3?|pip|pytest|ray|docker|git|curl|export|cd|apt|apt-get|sudo)"
    r"|scripts/\w+|[A-Z_]+=\S+"
)
"""First words by which a line of code is known for a command."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a page."""

    page: str
    """Path from the root."""
    line: int
    """Where it begins, from 1."""
    words: tuple[str, ...]
    """As a shell would cut it up, without the comment."""

    def __str__(self) -> str:
        """As a test's name."""
        return f"{self.page}:{self.line} {shlex.join(self.words)}"


def python_blocks(page: str) -> list[str]:
    """The fenced Python blocks of a page, named from the root."""
    text = (ROOT / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def commands(page: str) -> list[Command]:
    """Commands in the indented and fenced blocks of a page; ``a && b`` is two."""
    found, pending, begun = [], "", 0
    for number, line in _code_lines((ROOT / page).read_text()):
        begun = begun if pending else number
        pending += line.strip().removeprefix("$ ")
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        whole, pending = pending, ""
        if not PROGRAMS.fullmatch(whole.split(" ", 1)[0]):
            continue
        for part in _cut(whole):
            found.append(Command(page=page, line=begun, words=part))
    return found


def _code_lines(text: str) -> list[tuple[int, str]]:
    lines, fence = [], ""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith("```"):
            fence = "" if fence else line[3:].strip() or "text"
        elif fence not in ("", "python") or (not fence and line.startswith("    ")):
            lines.append((number, line))
    return lines


def _cut(line: str) -> list[tuple[str, ...]]:
    parts: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [tuple(part) for part in parts if part]
