"""Every place in the source that the docs name is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("recipes/*/README.md")])
PLACE = re.compile(r"`((?:copris_core|recipes|scripts|tests|configs|docs)/[\w/.]+)(?::([\w.]+))?`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def defined(file: Path) -> set[str]:
    """Names of a module: `function`, `Class` and `Class.method`."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        for member in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(f"{node.name}.{member.name}")
    return names


def is_there(path: str, name: str | None) -> bool:
    """Whether the tree has the place."""
    file = ROOT / path
    if name is None or not file.is_file():
        return file.exists() and name is None
    return name in defined(file)


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))
def test_every_place_that_a_page_names_is_in_the_source(doc):
    named = PLACE.findall(doc.read_text())
    assert [f"{path}:{name}" for path, name in named if not is_there(path, name or None)] == []


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))
def test_every_relative_link_of_a_page_leads_somewhere(doc):
    links = [link for link in LINK.findall(doc.read_text()) if "://" not in link]
    assert [link for link in links if not (doc.parent / link).exists()] == []


def test_the_architecture_page_is_read():
    places = PLACE.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len(places) > 25


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        ("copris_core/rollout/order.py", "ServiceOrder.pop", True),
        ("copris_core/rollout/order.py", "ServiceOrder.push", False),
        ("copris_core/rollout/order.py", None, True),
        ("copris_core/rollout/orders.py", None, False),
        ("copris_core/rollout/orders.py", "pop", False),
    ],
)
def test_a_place_that_is_not_there_is_told_from_one_that_is(path, name, found):
    assert is_there(path, name) is found
