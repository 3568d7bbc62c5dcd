"""Recipes are thin: an entry, a page, a script; everything else is a YAML file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = ("copris", "cppo", "prorl")
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


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_option_and_every_key_of_a_page_is_there(recipe):
    page = (ROOT / "recipes" / recipe / "README.md").read_text()
    groups = {folder.name: folder for folder in (ROOT / "configs").iterdir() if folder.is_dir()}
    named = "|".join(groups)
    options = re.findall(rf"(?<![\w.])({named})=(\w+)", page)
    keys = re.findall(rf"(?<![\w.])({named})\.(\w+)(?=[=`])", page)
    common = (ROOT / "configs" / "train.yaml").read_text()
    assert len(options) >= 3
    assert len(keys) >= 3
    for group, option in options:
        assert (groups[group] / f"{option}.yaml").is_file(), f"{group}={option}"
    for group, key in keys:
        texts = [common, *(path.read_text() for path in groups[group].glob("*.yaml"))]
        assert any(f"\n  {key}:" in text for text in texts), f"{group}.{key}"


# ---- the prolonged demonstration ----

FAKE_COPRIS = """#!/usr/bin/env bash
echo "$*" >>told
[[ $1 != train ]] && exit
[[ ! -e broken || $* != *steps=160* ]] || exit 1
for word in "$@"; do
    case $word in
        run.dir=*) folder=${word#run.dir=} ;;
        trainer.total_training_steps=*) steps=${word#*=} ;;
    esac
done
mkdir -p "$folder/checkpoints/global_step_$steps"
touch "$folder/checkpoints/global_step_$steps/complete.json"
"""


@pytest.fixture
def checkout(tmp_path):
    """The script where a program that only notes its words stands for the real one."""
    for name, text in {
        "scripts/prorl_demo.sh": (ROOT / "scripts/prorl_demo.sh").read_text(),
        "scripts/env.sh": "",
        ".venv/bin/copris": FAKE_COPRIS,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def _demo(checkout, *words):
    """Exit code, and the commands that were run."""
    (checkout / "told").write_text("")
    ended = subprocess.run(["bash", checkout / "scripts/prorl_demo.sh", *words], check=False)
    return ended.returncode, (checkout / "told").read_text().splitlines()


def _train(folder, steps, *words):
    choices = [f"run.dir={folder}", f"trainer.total_training_steps={steps}", *words]
    return " ".join(["train", "experiment=prorl_tiny", *choices])


def test_the_demonstration_is_three_processes_and_a_picture(checkout):
    trained = [_train("runs/prorl_tiny/demo", steps, "seed=1") for steps in (80, 160, 240)]
    assert _demo(checkout, "seed=1") == (0, [*trained, "picture runs/prorl_tiny/demo"])


def test_a_demonstration_that_was_cut_off_goes_on_with_the_process_that_had_not_ended(checkout):
    (checkout / "broken").touch()
    assert _demo(checkout, "mine") == (1, [_train("mine", 80), _train("mine", 160)])
    (checkout / "broken").unlink()
    assert _demo(checkout, "mine") == (
        0,
        [_train("mine", 160), _train("mine", 240), "picture mine"],
    )
    assert _demo(checkout, "mine") == (0, ["picture mine"])


@pytest.mark.verl
def test_the_processes_of_the_demonstration_end_at_a_checkpoint_and_a_validation(entered):
    cfg, run = entered("experiment=prorl_tiny", "policy=tiny_days")
    assert run.total_steps == 240
    assert [steps % cfg.trainer.save_freq for steps in (80, 160, 240)] == [0, 0, 0]
    assert cfg.trainer.save_freq % cfg.trainer.test_freq == 0
