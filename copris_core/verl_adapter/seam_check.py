"""Holds ``seams.py`` against the installed stack.

    python -m copris_core.verl_adapter.seam_check           # what moved
    python -m copris_core.verl_adapter.seam_check --code    # parameters and digests as they are

Imports the stack; on a machine without a GPU set VERL_PLATFORM=cpu.
"""

import ast
import contextlib
import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from copris_core.verl_adapter.seams import READ_AT, Seam
from copris_core.verl_adapter.seams_engine import ENGINE_SEAMS
from copris_core.verl_adapter.seams_rollout import ROLLOUT_SEAMS
from copris_core.verl_adapter.seams_trainer import TRAINER_SEAMS
from copris_core.verl_adapter.seams_worker import WORKER_SEAMS

SEAMS = (*TRAINER_SEAMS, *ROLLOUT_SEAMS, *WORKER_SEAMS, *ENGINE_SEAMS)
ROOM = Path(__file__).parent
NO_OVERRIDES = {
    *("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__qualname__"),
    *("__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__firstlineno__"),
    *("__static_attributes__", "__slotnames__"),
}
"""What Python itself puts into a class."""
STACK = ("verl", "vllm", "ray", "transfer_queue", "tensordict")


def findings(seam: Seam) -> list[str]:
    """What of a seam is no longer as it was, one line each; empty if all is."""
    try:
        place = resolve(seam.name)
    except Exception as error:  # a stack that does not fit together raises anything
        return [_told(seam, f"is gone ({_short(error)})")]
    found = [line for member in seam.code for line in _code_findings(seam, place, member)]
    found += [_told(seam, f"has no {x}") for x in seam.attributes if not _has(place, x)]
    text = source(place) if seam.literals else ""
    found += [_told(seam, f"no longer says {x!r}") for x in seam.literals if not _says(text, x)]
    return found


def resolve(name: str) -> Any:
    """The object of a dotted name; of a Ray actor class the plain class behind it.

    Raises:
        ImportError, AttributeError: there is none.
    """
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError as error:
            if cut > 1 and error.name and ".".join(parts[:cut]).startswith(error.name):
                continue
            raise
        for part in parts[cut:]:
            found = _plain(getattr(found, part))
        return found
    raise ImportError(name)


def code_of(place: Any, member: str) -> tuple[str, str]:
    """Parameters and digest of a function as it is now.

    Raises:
        AttributeError: there is none.
    """
    function = member_of(place, member)
    names = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    parameters = inspect.signature(function).parameters.values()
    takes = " ".join(names.get(each.kind.name, "") + each.name for each in parameters)
    return takes, digest(source(function))


def member_of(place: Any, member: str) -> Any:
    """A function below ``place``, or itself, without what wraps it."""
    found = inspect.getattr_static(place, member) if member else place
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    return inspect.unwrap(found) if callable(found) else found


def digest(text: str) -> str:
    """Of source; comments that fill a line, blank lines and indentation do not count."""
    lines = [line.strip() for line in text.splitlines()]
    code = "\n".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:10]


def source(place: Any) -> str:
    """Source text; of a class that of its bases in the stack too."""
    if not inspect.isclass(place):
        return inspect.getsource(place)
    found = []
    for base in place.__mro__:
        if base.__module__.partition(".")[0] in STACK:
            with contextlib.suppress(OSError):  # Ray makes classes that no file has
                found.append(inspect.getsource(base))
    return "\n".join(found)


def imports() -> dict[str, set[str]]:
    """Dotted name of everything that files of this room import from the stack -> the files."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOM.glob("*.py")):
        for name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if name.partition(".")[0] in STACK:
                found.setdefault(name, set()).add(path.name)
    return found


def import_findings() -> list[str]:
    """Imports of this room that the installed stack cannot serve, one line each."""
    found = []
    for name, files in imports().items():
        try:
            resolve(name)
        except Exception as error:
            by = ", ".join(sorted(files))
            found.append(f"{name} is gone ({_short(error)}): imported by {by}")
    return found


def override_findings() -> list[str]:
    """Methods of the stack that this room overrides and no table knows, one line each."""
    known = {place for seam in SEAMS for place in _defined(seam)}
    found = []
    for path in sorted(ROOM.glob("*.py")):
        try:
            module = importlib.import_module(f"{__package__}.{path.stem}")
        except Exception as error:
            found.append(f"{path.name} cannot be imported ({_short(error)})")
            continue
        for ours in vars(module).values():
            if inspect.isclass(ours) and ours.__module__ == module.__name__:
                found += [
                    f"{path.name}: {ours.__name__}.{name} overrides {stock.__module__}."
                    f"{stock.__qualname__}.{name}: list it in seams_*.py"
                    for stock, name in _overridden(ours)
                    if (stock, name) not in known
                ]
    return found


def _overridden(ours: type) -> Iterator[tuple[type, str]]:
    """Each member that a class of the stack has too, with the nearest such class."""
    for name in vars(ours).keys() - NO_OVERRIDES:
        for base in ours.__mro__[1:]:
            if base.__module__.partition(".")[0] in STACK and name in vars(base):
                yield base, name
                break


def _defined(seam: Seam) -> Iterator[tuple[type, str]]:
    """The members that a table knows, each with the class that defines it."""
    try:
        place = resolve(seam.name)
    except Exception:  # `findings` tells
        return
    for name in (*seam.code, *seam.attributes) if inspect.isclass(place) else ():
        for base in place.__mro__:
            if name in vars(base):
                yield base, name
                break


def _code_findings(seam: Seam, place: Any, member: str) -> Iterator[str]:
    takes, known = seam.code[member]
    dotted = f".{member}" if member else ""
    try:
        now, now_digest = code_of(place, member)
    except AttributeError:
        yield _told(seam, "is gone", dotted)
        return
    if not known:
        missing = set(takes.split()) - set(now.replace("*", "").split())
        if missing and "**" not in now:
            yield _told(seam, f"no longer takes {', '.join(sorted(missing))}", dotted)
    elif now != takes:
        yield _told(seam, f"takes ({now}), it took ({takes})", dotted)
    elif now_digest != known:
        version = READ_AT[seam.name.partition(".")[0]]
        yield _told(seam, f"does something else than in {version} ({now_digest})", dotted)


def _told(seam: Seam, what: str, member: str = "") -> str:
    return f"{seam.name}{member} {what}: {', '.join(seam.files)} rely on it ({seam.why})"


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _has(place: Any, name: str) -> bool:
    """Whether it, or its instances, have the attribute."""
    if isinstance(place, ModuleType) or not inspect.isclass(place):
        return hasattr(place, name)
    if any(name in vars(base) or name in _annotations(base) for base in place.__mro__):
        return True
    return re.search(rf"\bself\.{name}\s*(:[^=\n]+)?(=|,)", source(place)) is not None


def _annotations(base: type) -> dict[str, Any]:
    found = vars(base).get("__annotations__", {})
    return found if isinstance(found, dict) else {}


def _says(text: str, literal: str) -> bool:
    """As a string, as the beginning of one that is filled in, or as the name of an argument."""
    quoted = re.escape(literal)
    return re.search(rf"[\"']{quoted}[\"'{{]|\b{quoted}=", text) is not None


def _plain(found: Any) -> Any:
    """Ray hides an actor's class."""
    hidden = getattr(found, "__ray_metadata__", None)
    return found if hidden is None else hidden.modified_class


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def main(words: list[str]) -> int:
    """Print what moved, or every function as it is now; 1 if anything moved."""
    if words == ["--code"]:
        for seam in SEAMS:
            place = resolve(seam.name)
            lines = [f'    "{name}": {code_of(place, name)!r},' for name in seam.code]
            sys.stdout.write("\n".join([seam.name, *lines]) + "\n")
        return 0
    moved = [*import_findings(), *override_findings()]
    moved += [line for seam in SEAMS for line in findings(seam)]
    sys.stdout.write("".join(f"{line}\n" for line in moved) or "nothing moved\n")
    return int(bool(moved))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
