"""The pure core's public functions say what they raise, and what their tensors look like."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "copris_core"
ROOMS = ("rollout", "losses", "controllers", "evaluation", "checkpoint", "simulator", "tasks")
FILES = sorted(
    [
        *(file for room in ROOMS for file in (CORE / room).rglob("*.py")),
        *(CORE / f"{name}.py" for name in ("advantages", "pruning", "filtering", "staleness")),
        *(CORE / f"{name}.py" for name in ("methods", "own_code")),
    ]
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions and methods of public classes, by their name in the module."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, Function) and _is_public(member.name):
                    yield f"{node.name}.{member.name}", member


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__post_init__")


def raised(function: Function) -> set[str]:
    """Names of errors that its own body raises; those of functions inside it are theirs."""
    names, waiting = set(), list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            names.add(ast.unparse(node.exc.func))
        waiting.extend(ast.iter_child_nodes(node))
    return names - {"NotImplementedError", "AssertionError"}


def untold(file: Path) -> list[str]:
    """Functions whose docstring is silent about an error that they raise."""
    found = []
    for name, function in public_functions(ast.parse(file.read_text())):
        text = ast.get_docstring(function) or ""
        found += [f"{name}: {error}" for error in sorted(raised(function)) if error not in text]
    return found


def has_tensors(function: Function) -> bool:
    """Whether an argument is a tensor."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any("Tensor" in ast.unparse(each.annotation or ast.Constant(0)) for each in arguments)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CORE)))
def test_what_a_public_function_raises_stands_in_its_docstring(file):
    assert untold(file) == []


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if "import Tensor" in file.read_text()],
    ids=lambda file: str(file.relative_to(CORE)),
)
def test_a_file_with_tensors_says_their_shapes(file):
    tree = ast.parse(file.read_text())
    functions = [f for _, f in public_functions(tree) if has_tensors(f)]
    text = (ast.get_docstring(tree) or "") + "".join(ast.get_docstring(f) or "" for f in functions)
    assert not functions or "Shapes:" in text or "[" in text


def test_an_untold_error_is_found(tmp_path):
    file = tmp_path / "a.py"
    file.write_text(
        'def f():\n    """Do."""\n    raise ValueError("x")\n\n\n'
        'def g():\n    """Do.\n\n    Raises:\n        KeyError: never.\n    """\n'
        '    raise KeyError("x")\n\n\ndef _h():\n    raise TypeError("x")\n'
    )
    assert untold(file) == ["f: ValueError"]
