"""The Dockerfile, read: nothing here builds an image."""

import json
import re
import shlex
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = ("copris_core", "configs", "recipes", "scripts", "requirements", "pyproject.toml")


def instructions() -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction, continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Instructions of each stage, by its name, in order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for keyword, rest in instructions():
        if keyword == "FROM":
            current = found[rest.rpartition(" AS ")[2]] = []
        current.append((keyword, rest))
    return found


def ignored() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line.removeprefix("**/") for line in lines if line and not line.startswith("#")]


def test_the_default_image_is_the_gpu_one_and_installs_as_the_readme_says() -> None:
    name, last = list(stages().items())[-1]
    runs = [rest for keyword, rest in last if keyword == "RUN"]
    readme = (ROOT / "README.md").read_text()

    assert name == "gpu"
    assert runs == ["pip install -r requirements/gpu.txt", "pip install --no-deps -e ."]
    assert " && ".join(runs) in readme


def test_the_base_is_pinned_to_a_python_that_the_project_and_its_locks_take() -> None:
    image = stages()["base"][0][1].split()[0]
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim-\w+", image)

    assert version
    assert f"Programming Language :: Python :: {version[1]}" in PROJECT["classifiers"]
    assert version[1] in (ROOT / "requirements" / "gpu.txt").read_text()


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_an_image_runs_the_console_command_as_somebody_who_is_not_root(name: str) -> None:
    keywords = [keyword for keyword, _ in stages()[name]]
    stage = dict(stages()[name])

    assert stage["USER"] == "copris"
    assert keywords.index("USER") < keywords.index("ENTRYPOINT")
    assert Path(json.loads(stage["ENTRYPOINT"])[0]).name in PROJECT["scripts"]


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    copies = [shlex.split(rest) for keyword, rest in instructions() if keyword == "COPY"]
    sources = {word for copy in copies for word in copy[:-1] if not word.startswith("--")}

    assert sources == {".", "requirements/gpu.txt"}
    for path in (*NEEDED, PROJECT["readme"], *PROJECT["license-files"], *(sources - {"."})):
        assert (ROOT / path).exists()
        assert not set(Path(path).parts) & set(ignored())


def test_what_git_ignores_does_not_reach_the_image() -> None:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    names = {line.strip("/") for line in lines if line and not line.startswith("#")}

    assert names | {".git"} == set(ignored())
