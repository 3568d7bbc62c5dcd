"""Every command of docs/gpu.md is one that this checkout takes; none of them is run."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import commands

pytestmark = pytest.mark.verl

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gpu.md").read_text()
COMMANDS = [list(command.words) for command in commands("docs/gpu.md")]


def _of(*beginning: str) -> list[list[str]]:
    found = [words for words in COMMANDS if tuple(words[: len(beginning)]) == beginning]
    assert found
    return found


@pytest.mark.parametrize("words", [*_of("copris", "check"), *_of("copris", "train")])
def test_every_run_of_the_page_passes_the_check(words: list[str]) -> None:
    from copris_core.verl_adapter.check import check
    from copris_core.verl_adapter.door import enter

    cfg, run = enter(words[2:])
    lines = check(run, cfg)

    assert run.platform.name == "gpu"
    assert any(line.startswith("memory") for line in lines)


def test_the_run_on_two_machines_is_one_that_the_door_takes() -> None:
    from copris_core.verl_adapter.door import enter

    (words,) = _of("bash", "recipes/copris/run_copris_r1_7b.sh")
    _, run = enter(["experiment=copris_r1_7b", *words[2:]])

    assert run.platform.nodes == 2
    assert run.plan.devices == 16


def test_every_script_of_the_page_is_there_and_can_be_run() -> None:
    scripts = [ROOT / words[1] for words in _of("bash")]
    table = [word for word in PAGE.split("`") if word.endswith(".sh") and " " not in word]
    folder = Path()
    for word in table:
        folder = Path(word).parent if "/" in word else folder
        scripts.append(ROOT / folder / Path(word).name)

    assert len(scripts) >= 12
    assert [path for path in scripts if not path.stat().st_mode & 0o100] == []


def test_ray_knows_the_flags_that_the_page_starts_it_with() -> None:
    asked = [sys.executable, "-m", "ray.scripts.scripts", "start", "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=True).stdout
    given = {word.partition("=")[0] for words in _of("ray", "start") for word in words[2:]}

    assert given == {"--head", "--port", "--address"}
    assert given <= set(told.split())


def test_the_five_overrides_without_flash_attention_are_those_of_the_proof() -> None:
    script = (ROOT / "scripts" / "gpu_proof.py").read_text()
    (words,) = [words for words in COMMANDS if "use_remove_padding" in " ".join(words)]

    assert len(words) == 3 + 5
    assert all(f'"{word}"' in script for word in words[3:])


def test_the_page_fits_its_size() -> None:
    assert len(PAGE.splitlines()) <= 150
