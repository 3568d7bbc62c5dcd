"""The words of ``copris bench``. Refuses to know how a cell is run."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from copris_core.report.bench import BenchReport, BenchSetup

BENCH_HELP: Final = """\
copris bench [--workloads A,B] [--batches 4x8,16x8] [--methods A,B] [--rounds 3] [--steps 15]
             [--warmup-steps 3] [--concurrency N] [--cell-limit 1200] [--out runs/bench]
             [--report-only] [key=value ...]

Trains every method on every workload and batch, in rounds A B C A B C, and writes bench.json and a
picture for each workload to --out: samples/s, tokens/s, occupancy, re-prefilled tokens, where the
seconds of a step went, and each ratio to sync beside its limit. Learning is not judged: the policy
stays as it is. Exit code 1 when a cell failed.

  --methods      sync_released, sync, colocate_async_released, colocate_async, sync_tuned,
                 naive_partial, oversample, copris, copris_adaptive; copris@48 sets N',
                 copris+cppo prunes as well
  --workloads    days, longtail, uniform, longtail-heavy; longtail-8k for GPUs
  --batches      prompts x responses of a training step
  --rounds       runs of each method; medians and ranges are over them
  --steps        training steps of a run; the first --warmup-steps do not count
  --concurrency  N' of methods that take one and do not name it; without it twice the responses
                 of a step, which is the ratio of the authors' script
  --cell-limit   seconds after which a run counts as hanging and is stopped
  --report-only  run nothing: read the finished runs of --out again

The same command goes on where it stopped; one that names further workloads, batches or methods
adds them to the same --out. Other words are overrides of every run, as in
`copris train --help`.
"""

DEFAULT_OUT: Final = "runs/bench"
DEFAULTS: Final = {
    "--workloads": "days,longtail,uniform,longtail-heavy",
    "--batches": "4x8,16x8",
    "--methods": "sync_released,sync,colocate_async_released,colocate_async,naive_partial,"
    "oversample,copris,copris_adaptive",
    "--rounds": "3",
    "--steps": "15",
    "--warmup-steps": "3",
    "--concurrency": "",
    "--cell-limit": "1200",
    "--out": DEFAULT_OUT,
}
"""Flags that take a word, and the word without them."""

REPORT_ONLY: Final = "--report-only"
SET_BY_BENCH: Final = (
    "experiment=",
    "strategy=",
    "run.dir=",
    "run.root=",
    "run.engine_log=",
    "trainer.total_training_steps=",
    "data.train_batch_size=",
    "actor_rollout_ref.rollout.n=",
)
"""Beginnings of overrides that tell the cells apart, or that the reading needs."""


@dataclass(frozen=True, kw_only=True)
class BenchWords:
    """The command line, taken apart."""

    setup: "BenchSetup"
    """What to run."""
    out: Path
    """Folder of the bench."""
    cell_limit_s: int
    """Seconds after which a cell counts as hanging."""
    report_only: bool
    """Whether nothing is to be run."""


def bench(words: list[str]) -> int:
    """Run ``copris bench``; 1 when a cell failed."""
    told = split_bench(words)

    from copris_core.verl_adapter.bench_runs import (
        BenchRun,
        refuse_wrong_overrides,
        reread,
        run_bench,
    )

    if told.report_only:
        return _tell(reread(told.out), told.out)
    run = BenchRun(
        setup=told.setup,
        out=told.out,
        command=("copris", "bench", *words),
        cell_limit_s=told.cell_limit_s,
    )
    refuse_wrong_overrides(run)
    return _tell(run_bench(run), told.out)


def _tell(report: "BenchReport", out: Path) -> int:
    from rich.console import Console

    from copris_core.report.bench_view import print_bench

    print_bench(report, Console())
    sys.stdout.write(f"\n{out / 'bench.json'}\n")
    if not report.failures:
        return 0
    paths = ", ".join(failure.key.path for failure in report.failures)
    num_cells = len(report.setup.order)
    sys.stderr.write(f"copris: {len(report.failures)} of {num_cells} cells failed: {paths}\n")
    return 1


def split_bench(words: Sequence[str]) -> BenchWords:
    """Take the words of ``bench`` apart.

    Raises:
        ConfigError: an unknown flag, a flag without its word, a wrong number, or a key that bench
            sets itself.
    """
    from copris_core.report.bench import BenchSetup
    from copris_core.report.bench_names import Batch
    from copris_core.verl_adapter.errors import ConfigError

    flags, overrides = _flags(words)
    try:
        batches = tuple(Batch.parse(word) for word in _names(flags, "--batches"))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    seeds = [word.partition("=")[2] for word in overrides if word.startswith("seed=")]
    steps, warmup_steps = _number(flags, "--steps"), _number(flags, "--warmup-steps", least=0)
    if steps <= warmup_steps:
        raise ConfigError(
            f"--steps {steps} leaves nothing to count behind --warmup-steps {warmup_steps}"
        )
    return BenchWords(
        setup=BenchSetup(
            workloads=_names(flags, "--workloads"),
            batches=batches,
            methods=_names(flags, "--methods"),
            rounds=_number(flags, "--rounds"),
            steps=steps,
            warmup_steps=warmup_steps,
            concurrency=_number(flags, "--concurrency") if flags["--concurrency"] else None,
            seed=_number({"seed": seeds[-1]}, "seed", least=0) if seeds else 0,
            overrides=tuple(word for word in overrides if not word.startswith("seed=")),
        ),
        out=Path(flags["--out"]).expanduser(),
        cell_limit_s=_number(flags, "--cell-limit"),
        report_only=REPORT_ONLY in words,
    )


def _flags(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The words of the flags, and the overrides."""
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.keys import nearest_key

    flags, overrides = dict(DEFAULTS), []
    rest = iter(word for word in words if word != REPORT_ONLY)
    for word in rest:
        if word in DEFAULTS:
            flags[word] = next(rest, "")
            if not flags[word] or flags[word].startswith("--"):
                raise ConfigError(f"{word} needs a word: {word} {DEFAULTS[word] or '32'}")
        elif word.startswith(SET_BY_BENCH):
            raise ConfigError(f"{word}: bench sets it for each cell; see copris bench --help")
        elif "=" in word and not word.startswith("--"):
            overrides.append(word)
        else:
            near = nearest_key(word, (*DEFAULTS, REPORT_ONLY))
            raise ConfigError(f"unknown word {word}: {_mend(near)}")
    return flags, overrides


def _mend(near: str | None) -> str:
    return f"did you mean {near}?" if near else "see copris bench --help"


def _names(flags: dict[str, str], flag: str) -> tuple[str, ...]:
    from copris_core.verl_adapter.errors import ConfigError

    names = [name.strip() for name in flags[flag].split(",")]
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(f"{flag} {flags[flag]}: write each name once, with commas between")
    return tuple(names)


def _number(flags: dict[str, str], flag: str, *, least: int = 1) -> int:
    from copris_core.verl_adapter.errors import ConfigError

    word = flags[flag]
    if not word.isdecimal() or int(word) < least:
        raise ConfigError(f"{flag} {word}: give a whole number of {least} or more")
    return int(word)
