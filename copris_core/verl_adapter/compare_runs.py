"""Trains what a comparison still lacks, run by run, and writes one report about all of it.

Seeds are run in turn (A B C, A B C, ...), not method by method: a machine that grows slower, or a
neighbour that comes and goes, then hits all methods alike, and pairs lie close in time.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from copris_core.report.compared import Method
from copris_core.report.config_leaves import settings
from copris_core.report.methods_notes import methods_notes
from copris_core.report.methods_read import (
    MACHINE_FILE,
    PLAN_FILE,
    distinct,
    group_runs,
    labelled_runs,
    labels_in,
    read_methods,
)
from copris_core.report.run_folder import read_config, write_json
from copris_core.report.table import comparison_table
from copris_core.report.write import write_report
from copris_core.tasks import TaskDataError
from copris_core.verl_adapter import door, launch
from copris_core.verl_adapter.bench_runs import PATH_IN_WORD, machine, without_paths
from copris_core.verl_adapter.check import check
from copris_core.verl_adapter.compare_plan import Asked, Entry
from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError, TrainingError

FAILED: Final = 1
"""Exit code when a run failed."""
PLAN_VERSION: Final = 1
"""Of the form of compare.json."""

MOST_NAMED: Final = 4
"""Differing keys that a refusal names: some follow from others, which stand behind them."""
PIPE_WIDTH: Final = 100
"""Columns where no terminal says how many there are."""

Groups = list[tuple[str, list[Path]]]
"""Label and run folders of each method."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run of the comparison."""

    label: str
    """Of its method."""
    cfg: DictConfig
    """The derived config."""
    run: RunConfig
    """The typed choices, its folder among them."""

    @property
    def folder(self) -> Path:
        """Its run folder."""
        folder: Path | None = self.run.run_dir
        assert folder is not None, "planned runs have fixed folders"
        return folder

    @property
    def name(self) -> str:
        """The run in words."""
        return f"{self.label}, seed {self.run.seed}"

    @property
    def is_finished(self) -> bool:
        """Whether its result lies there."""
        return (self.folder / "summary.json").is_file()


def compare(asked: Asked) -> int:
    """Train what is missing, then report; the first method is the baseline.

    All runs are checked before the first one starts, those in ``asked.out`` included.

    Returns:
        0, or 1 if a run failed; the others are in the report.

    Raises:
        ConfigError: an experiment, an override or a run folder is wrong, or nothing was finished.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    try:
        finished = group_runs(labelled_runs(asked.places))
    except (ValueError, KeyError) as error:
        raise ConfigError(f"{error}; copris compare needs finished runs") from error
    planned = _planned(asked, console)
    asked.out.mkdir(parents=True, exist_ok=True)
    if planned:
        _note_plan(planned, asked.out)
    failures: list[str] = []
    for number, each in enumerate(planned, start=1):
        console.print(f"[bold]\\[{number}/{len(planned)}][/bold] {each.name}", highlight=False)
        if each.is_finished:
            console.print("is finished and stays", highlight=False)
            continue
        failures += _train(each, console)
        methods = _read(asked, planned, finished, console)
        if methods and number < len(planned):
            write_report(methods, asked.out, failures=failures, command=_command(asked))
    methods = _read(asked, planned, finished, console)
    if not methods:
        raise TrainingError(f"no run finished: {'; '.join(failures)}")
    _report(methods, asked, failures, console)
    return FAILED if failures else 0


# ---- what is run ----


def _planned(asked: Asked, console: Console) -> list[Planned]:
    """All runs in the order in which they are trained.

    Raises:
        ConfigError: one of them cannot be, or its folder holds another run.
    """
    rounds: list[list[Planned]] = [[] for _ in asked.seeds or (None,)]
    for entry in asked.entries:
        for number, seed in enumerate(asked.seeds or (None,)):
            planned = _enter(entry, asked, seed)
            if number == 0:
                _print_check(planned, console)
            _refuse_other_run(planned)
            rounds[number].append(planned)
    return [planned for each in rounds for planned in each]


def _enter(entry: Entry, asked: Asked, seed: int | None) -> Planned:
    words = [f"experiment={entry.name}", *asked.overrides, *entry.overrides]
    cfg, run = door.enter([*words, *([] if seed is None else [f"seed={seed}"])])
    folder = asked.out.absolute() / entry.folder / f"seed_{run.seed}"
    return Planned(label=entry.label, cfg=cfg, run=replace(run, run_dir=folder))


def _print_check(planned: Planned, console: Console) -> None:
    console.print(f"[bold]{planned.label}[/bold]", highlight=False)
    for line in check(planned.run, planned.cfg):
        console.print(line, highlight=False, soft_wrap=True)


def _refuse_other_run(planned: Planned) -> None:
    """A run that lies there already must be the one that is asked for.

    Raises:
        ConfigError: it has another config; names keys that differ.
    """
    saved = settings(read_config(planned.folder / "config.yaml"))
    if not saved:
        return
    wanted = settings(yaml.safe_load(OmegaConf.to_yaml(planned.cfg, resolve=True)))
    other = [
        f"{key}={saved.get(key, 'absent')} (not {wanted.get(key, 'absent')})"
        for key in sorted(saved.keys() | wanted.keys())
        if saved.get(key) != wanted.get(key)
    ]
    if other:
        raise ConfigError(
            f"{planned.folder} holds a run with {', '.join(other[:MOST_NAMED])}: name another "
            "--out, or remove that folder"
        )


def _note_plan(planned: Sequence[Planned], out: Path) -> None:
    """Keep the labels, by which a later comparison calls these runs."""
    by_method = sorted(planned, key=lambda x: [y.label for y in planned].index(x.label))
    root = out.absolute()
    labels = {each.folder.relative_to(root).as_posix(): each.label for each in by_method}
    known = {**labels_in(out), **labels}
    write_json(out / PLAN_FILE, {"version": PLAN_VERSION, "labels": known})


def _train(planned: Planned, console: Console) -> list[str]:
    """Train one run; why it came to nothing, as one line or none."""
    try:
        folder = launch.train(planned.cfg, planned.run)
    except (ConfigError, TaskDataError, TrainingError) as error:
        why = str(error)
    except (KeyboardInterrupt, SystemExit):
        console.print("stopped: the same copris compare goes on here", highlight=False)
        raise
    except Exception as error:  # whatever one run hits, the others still run
        console.print_exception()
        why = f"{type(error).__name__}: {error}"
    else:
        write_json(folder / MACHINE_FILE, _machine(planned.run))
        return []
    console.print(f"[red]failed[/red] {planned.name}: ", end="")
    console.print(why, markup=False, highlight=False, soft_wrap=True)
    return [without_paths(f"{planned.name}: {why}".splitlines()[0])]


def _machine(run: RunConfig) -> dict[str, Any]:
    """What the run ran on, without names of hosts."""
    found = {"devices": f"{run.platform.devices} x {run.platform.name}", **machine()}
    return found | ({"gpu": _gpu()} if run.platform.name == "gpu" else {})


def _gpu() -> str | None:
    """Model of the first GPU; None where the driver's tool does not say."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next(iter(told.stdout.splitlines()), None)


# ---- the report ----


def _read(
    asked: Asked, planned: Sequence[Planned], finished: Groups, console: Console
) -> tuple[Method, ...]:
    """The finished runs of all methods, in the order of the words."""
    trained: dict[str, list[Path]] = {}
    for each in planned:
        trained.setdefault(each.label, []).extend([each.folder] if each.is_finished else [])
    groups = list(trained.items())
    groups = [*finished, *groups] if asked.places_first else [*groups, *finished]
    labels = distinct([label for label, _ in groups])
    named = [(label, folders) for label, (_, folders) in zip(labels, groups, strict=True)]
    try:
        return read_methods(named, on_torn=console.print)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _report(
    methods: Sequence[Method], asked: Asked, failures: Sequence[str], console: Console
) -> None:
    paths = write_report(methods, asked.out, failures=failures, command=_command(asked))
    console.print(comparison_table(methods))
    for note in methods_notes(methods, failures=failures):
        console.print(f"- {note}", highlight=False, markup=False)
    lines = (paths.page, paths.text, paths.json, paths.picture)
    text = "\n".join(str(path) for path in lines)
    console.print(f"\n{text}", highlight=False, markup=False, soft_wrap=True)


def _command(asked: Asked) -> str:
    """The command as it was typed, without the machine's folders."""
    words = (without_paths(word, among=PATH_IN_WORD) for word in asked.words)
    return shlex.join(["copris", "compare", *words])
