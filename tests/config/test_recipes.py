"""Recipes are thin: an entry, a page, a script; everything else is a YAML file."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ("copris", "cppo")
SCRIPTS = sorted((ROOT / "recipes").glob("*/run_*.sh"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_entry_is_at_most_25_lines(recipe):
    assert len((ROOT / "recipes" / recipe / "main.py").read_text().splitlines()) <= 25


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_a_page_and_a_quickstart(recipe):
    folder = ROOT / "recipes" / recipe
    assert (folder / "README.md").read_text().startswith("# ")
    assert (folder / "run_quickstart.sh") in SCRIPTS


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs_as_a_module(recipe):
    told = subprocess.run(
        [sys.executable, "-m", f"recipes.{recipe}.main", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.startswith("copris train")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_is_executable_and_parses(script):
    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    subprocess.run(["bash", "-n", script], check=True)
