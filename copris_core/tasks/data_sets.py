"""``copris data make prorl``: ProRL's five domains as files in verl's schema, whole or not at all.

Everything is made in a neighbouring folder, checked there, and moved into place with one rename.
This file refuses to know what a domain's rows are about, and prints nothing.
"""

import dataclasses
import hashlib
import json
import math
import os
import random
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from copris_core import __version__
from copris_core.own_code import nearest
from copris_core.tasks.joining import fact_kinds, interleave, numbered
from copris_core.tasks.registry import get_task, task_class, task_for
from copris_core.tasks.row_checks import first_shared_prompt, prompt_text
from copris_core.tasks.rows import write_parquet
from copris_core.tasks.task import Row, Task, TaskDataError

PRORL_SIZES: Final[Mapping[str, int]] = {
    "math": 40_000,
    "code": 24_000,
    "stem": 25_000,
    "logic": 37_000,
    "instruction": 10_000,
}
"""Domains of ProRL and the training prompts of each: arXiv 2505.24864, section 3.2.1 and app. E."""

DESCRIPTION: Final = "data.json"
"""What a made folder holds; read back when the same is asked for again."""
CHECK_THREADS: Final = 4
SHOWN_CHARS: Final = 60


@dataclass(frozen=True, kw_only=True)
class DataRequest:
    """Which sets to make. The same request gives the same bytes."""

    sizes: Mapping[str, int] = field(default_factory=lambda: dict(PRORL_SIZES))
    """Training rows by domain; a domain that is left out is not made."""
    validation: int = 200
    """Validation rows of each domain, at most."""
    seed: int = 0
    """Decides which problems are drawn and their order; never which split owns one."""
    math_path: str | None = None
    """File of math problems; None: the hub's, as ``configs/task/math.yaml`` has it."""

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown domain or a size out of range."""
        if not self.sizes:
            raise ValueError("no domain: give sizes, such as math=400,logic=370")
        for domain, size in self.sizes.items():
            if domain not in PRORL_SIZES:
                raise ValueError(f"unknown domain {domain!r}: {nearest(domain, PRORL_SIZES)}")
            if size < 1:
                raise ValueError(f"{domain}={size}: set it to 1 or more, or leave it out")
        if self.validation < 1:
            raise ValueError(f"validation {self.validation}: set it to 1 or more")

    def to_json(self) -> dict[str, Any]:
        """The request, with what the math file holds in place of its name."""
        file = None if self.math_path is None else Path(self.math_path).expanduser()
        return {
            "copris": __version__,
            "sizes": {domain: self.sizes[domain] for domain in PRORL_SIZES if domain in self.sizes},
            "validation": self.validation,
            "seed": self.seed,
            "math_sha256": _sha256(file) if file and file.is_file() else self.math_path,
        }


@dataclass(frozen=True, kw_only=True)
class DomainSet:
    """One domain as it was made."""

    domain: str
    """Name of its task."""
    train: int
    """Training rows."""
    prompts: int
    """Different prompts among them."""
    validation: int
    """Validation rows."""
    checked: int
    """Rows of both splits whose reference answer was scored, all of them 1; 0: the task knows
    none."""


@dataclass(frozen=True, kw_only=True)
class DataSets:
    """What a folder holds."""

    domains: tuple[DomainSet, ...]
    """In ProRL's order."""
    is_new: bool
    """Made just now; False: the folder held the same already."""


@dataclass(frozen=True, kw_only=True)
class MadeDomain:
    """A domain's rows, before they are written."""

    task: Task
    """Where they came from."""
    train: list[Row]
    """To train on."""
    held_out: list[Row]
    """To validate on."""


def make_data_sets(request: DataRequest, out: Path, *, check: int | None = 1000) -> DataSets:
    """Make ``out/<domain>/{train,val}.parquet``, ``out/{train,val}.parquet`` and a description.

    Args:
        request: which sets.
        out: a new or empty folder, or one that holds the same request.
        check: rows of each split whose reference answers are scored, evenly spread; None: all.

    Raises:
        ValueError: ``out`` holds something else.
        TaskDataError: a domain has too few rows, a prompt is in both splits, or a task does not
            give its own reference answer the score 1.
        OSError: the disk is full or gone. In each case ``out`` is as it was.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return _held(request, out)
    made = {domain: _made(request, domain) for domain in PRORL_SIZES if domain in request.sizes}
    refuse_shared_prompts(made)
    domains = tuple(_checked(domain, each, check) for domain, each in made.items())
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        _write(made, part, random.Random(f"data {request.seed}"))
        _describe(request, domains, part)
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return DataSets(domains=domains, is_new=True)


# ---- rows ----


def _made(request: DataRequest, domain: str) -> MadeDomain:
    size = request.sizes[domain]
    task = get_task(domain, **_settings(request, domain))
    try:
        train, held_out = task.train_rows(), task.validation_rows()
    except TaskDataError as error:
        if domain != "math" or request.math_path is not None:
            raise
        raise TaskDataError(
            f"math: {error}. Give problems by --math-path FILE, or leave math out of --sizes"
        ) from error
    if len(train) < size:
        raise TaskDataError(
            f"{domain} has {len(train)} training rows, --sizes asks for {size}: lower it to "
            f"{domain}={len(train)}"
        )
    return MadeDomain(task=task, train=train[:size], held_out=held_out[: request.validation])


def _settings(request: DataRequest, domain: str) -> dict[str, Any]:
    """Settings of a domain's task, as far as it has them."""
    wanted: dict[str, Any] = {
        "rows": request.sizes[domain],
        "val_rows": request.validation,
        "seed": request.seed,
    }
    if domain == "math" and request.math_path is not None:
        wanted["path"] = request.math_path
    known = {each.name for each in dataclasses.fields(task_class(domain))}
    return {key: value for key, value in wanted.items() if key in known}


def refuse_shared_prompts(made: Mapping[str, MadeDomain]) -> None:
    """Refuse a prompt that is in both splits, whichever domains it is in.

    Raises:
        TaskDataError: there is one.
    """
    train = [row for each in made.values() for row in each.train]
    held_out = [row for each in made.values() for row in each.held_out]
    shared = first_shared_prompt(train, held_out)
    if shared is not None:
        ours, theirs = train[shared[0]], held_out[shared[1]]
        raise TaskDataError(
            f"row {ours.index} of {ours.data_source}'s training set asks what row {theirs.index} "
            f"of {theirs.data_source}'s validation set asks "
            f"({prompt_text(ours)[:SHOWN_CHARS]!r}): remove it from its source"
        )


def _checked(domain: str, made: MadeDomain, check: int | None) -> DomainSet:
    splits = (made.train, made.held_out)
    return DomainSet(
        domain=domain,
        train=len(made.train),
        prompts=len({prompt_text(row) for row in made.train}),
        validation=len(made.held_out),
        checked=sum(check_reference_answers(made.task, rows, check) for rows in splits),
    )


def check_reference_answers(task: Task, rows: Sequence[Row], check: int | None) -> int:
    """Score the task's own answers by the verifiers that workers would use.

    A task that knows a right response to its rows has ``reference_answer(row) -> str | None``.

    Args:
        task: where the rows came from.
        rows: of one split.
        check: how many, evenly spread; None: all.

    Returns:
        How many were scored.

    Raises:
        TaskDataError: one does not score 1.
    """
    ask = getattr(task, "reference_answer", None)
    if ask is None:
        return 0
    step = 1 if check is None else max(1, math.ceil(len(rows) / check))
    with ThreadPoolExecutor(CHECK_THREADS) as threads:
        return sum(threads.map(lambda row: _check_one(row, ask(row)), rows[::step]))


def _check_one(row: Row, answer: str | None) -> int:
    if answer is None:
        return 0
    verdict = task_for(row.data_source).score(answer, row.ground_truth)
    if verdict.score != 1:
        raise TaskDataError(
            f"{row.data_source} {row.split} row {row.index}: its own answer scores "
            f"{verdict.score} ({verdict.reason}): this is a fault of the task, report it"
        )
    return 1


# ---- files ----


def _write(made: Mapping[str, MadeDomain], folder: Path, rng: random.Random) -> None:
    for domain, each in made.items():
        write_parquet(each.train, folder / domain / "train.parquet")
        write_parquet(each.held_out, folder / domain / "val.parquet")
    train = interleave({domain: each.train for domain, each in made.items()}, rng)
    held_out = [row for each in made.values() for row in each.held_out]
    kinds = fact_kinds([*train, *held_out])
    write_parquet(numbered(train, kinds), folder / "train.parquet")
    write_parquet(numbered(held_out, kinds), folder / "val.parquet")


def _describe(request: DataRequest, domains: Sequence[DomainSet], folder: Path) -> None:
    description = {
        "request": request.to_json(),
        "domains": [dataclasses.asdict(each) for each in domains],
        "sha256": _digests(folder),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")


def _held(request: DataRequest, out: Path) -> DataSets:
    """What a folder that is not empty holds, if it is what is asked for."""
    try:
        described = json.loads((out / DESCRIPTION).read_text())
        same = described["request"] == request.to_json()
        domains = tuple(DomainSet(**each) for each in described["domains"])
        whole = described["sha256"] == _digests(out)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{out} is not empty: give a new folder") from error
    if not same:
        raise ValueError(
            f"{out} holds other sets, made for {json.dumps(described['request'])}: "
            "give a new folder"
        )
    if not whole:
        raise ValueError(f"{out}: files were changed since they were made: give a new folder")
    return DataSets(domains=domains, is_new=False)


def _digests(folder: Path) -> dict[str, str]:
    """sha256 of every parquet file, by its name within the folder."""
    files = sorted(folder.rglob("*.parquet"))
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
