"""``copris compare``: its words. What is trained and reported is `verl_adapter.compare_runs`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from copris_core.verl_adapter.compare_plan import Asked

COMPARE_HELP: Final = """\
copris compare WORD WORD ... [--seeds N | --seeds 0,1,2] [--out DIR] [key=value ...]

Trains experiments beside each other, or reads runs that are finished, and writes report.html,
report.md, report.json and figures/ to DIR (default runs/compare). The first word is the baseline.
A WORD is one of

  NAME                       an experiment: grpo, copris, cppo, ...
  'NAME key=value ...'       the same with overrides of its own
  'NAME key=value ... as X'  called X in the report
  FOLDER                     a finished run, or a folder with some, such as that of a comparison

  copris compare grpo copris cppo --seeds 3
  copris compare grpo cppo 'cppo pruning.pruning_rate=0.75 mini_batches=1' --out runs/rates
  copris compare runs/compare/grpo runs/rates/cppo
  copris compare runs/compare copris --out runs/both

Seeds are trained in turn (A B C, A B C, ...), so that a machine that slows down slows all alike.
Runs go to DIR/LABEL/seed_N. The same command goes on where it stopped: what is finished stays, a
run that was cut off goes on from its checkpoint (trainer.save_freq=N) or begins anew, its rows so
far set aside. The report is written after each run. A run that fails is named there, the others
still run, and the exit code is 1.

With two seeds or more, means have Student's t intervals and differences are paired by seed. All is
read at equal optimizer updates, trained samples, generated tokens and training seconds.

"""

DEFAULT_OUT: Final = Path("runs/compare")
FLAGS: Final = {
    "--out": "--out needs a folder: --out runs/mine",
    "--seeds": "--seeds needs a number or a list: --seeds 3",
}


def compare(words: list[str]) -> int:
    """Run ``copris compare``; exit code 1 when a run failed.

    Raises:
        ConfigError: a word, an override or a run folder is wrong.
    """
    asked = split_compare(words)

    from copris_core.verl_adapter.compare_runs import compare as run

    exit_code: int = run(asked)
    return exit_code


def split_compare(words: Sequence[str]) -> "Asked":
    """Tell experiments, run folders, overrides and flags apart.

    Raises:
        ConfigError: a flag without its value, an unknown one, a missing folder, or nothing named.
    """
    from copris_core.verl_adapter.compare_plan import Asked, entries_of, is_override, seeds_of

    rest, flags = _flags(words)
    overrides = [word for word in rest if is_override(word) and not _is_place(word)]
    named = [word for word in rest if word not in overrides and word.strip()]
    places = [word for word in named if _is_place(word)]
    return Asked(
        entries=entries_of([word for word in named if word not in places]),
        places=tuple(Path(word) for word in places),
        places_first=bool(places) and named[0] in places,
        overrides=tuple(overrides),
        seeds=seeds_of(flags["--seeds"]) if "--seeds" in flags else None,
        out=Path(flags.get("--out", DEFAULT_OUT)),
        words=tuple(words),
    )


def _flags(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    from copris_core.verl_adapter.errors import ConfigError

    rest, flags = [*words], dict[str, str]()
    for flag, mend in FLAGS.items():
        while flag in rest:  # of a flag given twice the later value wins, as of a key
            place = rest.index(flag)
            if place + 1 == len(rest):
                raise ConfigError(mend)
            flags[flag] = rest[place + 1]
            del rest[place : place + 2]
    for word in rest:
        if word.startswith("-"):
            raise ConfigError(f"unknown flag {word}: see copris compare --help")
    return rest, flags


def _is_place(word: str) -> bool:
    """A folder with runs; a word with a slash can be nothing else.

    Raises:
        ConfigError: such a word, but there is no folder.
    """
    from copris_core.verl_adapter.errors import ConfigError

    path = Path(word)
    if path.is_dir() and any((path / name).is_file() for name in ("summary.json", "compare.json")):
        return True
    if "/" not in word or "=" in word:
        return False
    if not path.is_dir():
        raise ConfigError(f"no run folder {word}: name an experiment, or a folder with runs")
    return True
