"""Every command of the docs does what it says, or at least is one.

What trains is checked as ``copris check`` checks it, words unchanged: it reads config, data and
model, and stops right before the stack would start. Trainings themselves are in tests/e2e. What
costs no training is run.
"""

import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from copris_core import cli
from tests.docs.pages import PAGES, ROOT, Command, commands, python_blocks
from tests.report.compare_house import run_of
from tests.simulator.synthetic_run import model_config, write_run

pytestmark = pytest.mark.verl

EVERY = [command for page in PAGES for command in commands(page)]
WORDS = [command.words for command in EVERY]
DIFFERENT = [each for i, each in enumerate(EVERY) if each.words not in WORDS[:i]]
SHELLS = ("bash", "sh")
ASSIGNMENT = re.compile(r"[A-Z_]+=")
Run = Callable[[tuple[str, ...]], int]

MODEL = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory that holds the files which the docs speak of."""
    place = tmp_path_factory.mktemp("reader")
    for name in ("a", "b"):
        write_run(place / "runs" / name, config=model_config(place / "small"))
        _tell_lengths(place / "runs" / name / "metrics.jsonl")
    shutil.copytree(ROOT / "tests" / "data" / "run_prorl", place / "runs" / "mine")
    shutil.copytree(place / "runs" / "mine", place / "RUN")
    for name in ("grpo", "cppo"):
        _write_finished(place / "runs" / "compared" / name / "seed_0", name)
    (place / "FOLDER").mkdir()
    (place / "FOLDER" / "config.json").write_text(json.dumps(MODEL))
    for name, page in (("my_tasks.py", "docs/tasks.md"), ("my_method.py", "docs/own_method.md")):
        (place / name).write_text(python_blocks(page)[0])
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {2 * i}"} for i in range(600)]
    for name in ("gsm8k_train.jsonl", "math.jsonl"):
        (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    _write_parquet(place)
    return place


def _write_finished(folder: Path, experiment: str) -> None:
    run = run_of(experiment=experiment)
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in run.rows))
    (folder / "summary.json").write_text(json.dumps(run.summary.to_json()))
    (folder / "config.yaml").write_text(json.dumps(run.config))


def _tell_lengths(metrics: Path) -> None:
    told = {"length/drawn_p50": 60.0, "length/drawn_p90": 200.0, "length/drawn_p99": 600.0}
    rows = [{**json.loads(line), **told} for line in metrics.read_text().splitlines()]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_parquet(place: Path) -> None:
    from copris_core.tasks import get_task, write_parquet

    task = get_task("days", rows=64, val_rows=16)
    write_parquet(task.train_rows(), place / "train.parquet")
    write_parquet(task.validation_rows(), place / "val.parquet")


# ---- what is done with each ----


def checked(words: tuple[str, ...]) -> int:
    """What ``copris train`` does before it starts anything."""
    return cli.main(["check", *words])


def compared(words: tuple[str, ...]) -> int:
    """Each experiment of a comparison, checked; a comparison of finished runs alone is made."""
    from copris_core.cli_compare import split_compare

    asked = split_compare(words)
    if not asked.entries:
        return cli.main(["compare", *words])
    codes = [
        checked((f"experiment={entry.name}", *entry.overrides, *asked.overrides))
        for entry in asked.entries
    ]
    return max(codes, default=0)


def as_it_is(command: str, *more: str) -> Run:
    """Run it whole."""
    return lambda words: cli.main([command, *words, *more])


def made(words: tuple[str, ...]) -> int:
    """Sets of the same domains, but small."""
    small = "stem=20,logic=40" if "--math-path" not in words else "math=40,stem=20"
    ours = ("--sizes", "--out")
    kept = [x for i, x in enumerate(words) if not {x, words[max(0, i - 1)]} & {*ours}]
    few = ("--sizes", small, "--validation", "8", "--check", "8")
    return cli.main(["data", *kept, *few, "--out", tempfile.mkdtemp(dir=Path.cwd()) + "/new"])


def planned(words: tuple[str, ...]) -> int:
    """A sweep with few simulated steps; sub-commands as they are, the paper's figures quickly."""
    sub = words[0] if words and not words[0].startswith("-") else ""
    more = {"": ("--stages", "2"), "paper": ("--quick",)}.get(sub, ())
    return cli.main(["plan", *words, *more])


def benched(words: tuple[str, ...]) -> int:
    """Its words; cells are run by tests/verl_adapter/test_bench_runs.py and by hand."""
    from copris_core.cli_bench import split_bench

    split_bench(words)
    return 0


def evaluated(words: tuple[str, ...]) -> int:
    """Its words; sampling is tests/e2e/test_eval.py's."""
    from copris_core.cli_eval import split_eval

    split_eval(words)
    return 0


COPRIS: dict[str, Run] = {
    "check": checked,
    "train": checked,
    "compare": compared,
    "audit": as_it_is("audit"),
    "picture": as_it_is("picture"),
    "watch": as_it_is("watch", "--once"),
    "plan": planned,
    "data": made,
    "bench": benched,
    "eval": evaluated,
}


def done(command: Command) -> int:
    """Do a command's work, or as much of it as the rules above say; its exit code."""
    words = tuple(itertools.dropwhile(lambda word: ASSIGNMENT.match(word), command.words))
    program = words[0].removeprefix(".venv/bin/")
    if "--help" in words and program == "copris":
        return cli.main(list(words[1:]))
    if program == "copris":
        return COPRIS[words[1]](words[2:])
    if program in SHELLS or program.startswith("scripts/"):
        return scripted(words if program in SHELLS else ("bash", *words))
    return OTHERS[program](words)


def scripted(words: tuple[str, ...]) -> int:
    """A script is there and parses; with ``check`` or ``--help`` it is run."""
    script = ROOT / words[1]
    parses = subprocess.run(["bash", "-n", script], check=False).returncode
    if {"check", "--help"} & set(words[2:]):
        told = subprocess.run(["bash", script, *words[2:]], check=False, capture_output=True)
        return parses or told.returncode
    return parses


def installed(words: tuple[str, ...]) -> int:
    """What is to be installed is there; requirements/gpu.txt itself: tests/test_packaging.py."""
    files = [word for flag, word in itertools.pairwise(words) if flag == "-r"]
    return int(not all((ROOT / file).is_file() for file in files))


def _tested(words: tuple[str, ...]) -> int:
    """The tests that are named are there."""
    return int(not all((ROOT / word).exists() for word in words[1:] if word.startswith("tests/")))


def python(words: tuple[str, ...]) -> int:
    """The script or module is there; tests that are named too."""
    if words[1] != "-m":
        return int(not (ROOT / words[1]).is_file())
    if words[2] == "pytest":
        return _tested(words[2:])
    if words[2] == "pip":  # setuptools takes a look for pip as the start of an installation
        return installed(words[2:])
    return int(importlib.util.find_spec(words[2]) is None)


def elsewhere(words: tuple[str, ...]) -> int:
    """Docker and Ray on several machines: tests/test_docker.py, tests/e2e/test_ray_address.py."""
    return 0


OTHERS: dict[str, Run] = {
    "pip": installed,
    "pytest": _tested,
    "python": python,
    "python3": python,
    "docker": elsewhere,
    "ray": elsewhere,
}


# ---- the tests ----


@pytest.mark.parametrize("command", DIFFERENT, ids=str)
def test_a_command_of_the_docs_works(command, house, monkeypatch, capsys):
    monkeypatch.chdir(house)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code = done(command)
    assert code == 0, capsys.readouterr().err


def test_the_docs_are_read():
    assert len(EVERY) > 50
    assert {command.words[1] for command in EVERY if command.words[0] == "copris"} >= {*COPRIS}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("copris", "train", "experiment=copris", "strategy.concurency=32"), "concurrency"),
        (("copris", "compare", "grpo", "copriss"), "copriss"),
        (("copris", "plan", "--presett", "h100-7b"), "presett"),
        (("copris", "eval", "RUN", "--tasks", "gsm8k"), "--task"),
        (("copris", "data", "make", "prorll", "--out", "x"), "prorll"),
    ],
)
def test_a_mistyped_command_would_be_found(words, complaint, house, monkeypatch, capsys):
    monkeypatch.chdir(house)
    from copris_core.verl_adapter.errors import ConfigError

    told = ""
    try:
        assert done(Command(page="x", line=1, words=words)) == 2
    except ConfigError as error:
        told = str(error)
    assert complaint in told + capsys.readouterr().err
