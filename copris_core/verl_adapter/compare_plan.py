"""What ``copris compare`` is asked for, as values. Refuses to read configs and run folders."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from copris_core.verl_adapter.errors import ConfigError

SET_BY_COMPARE: Final = ("experiment=", "run.dir=", "run.root=")
"""Beginnings of overrides that would send a run elsewhere than compare looks for it."""
AS: Final = "as"
WORDS: Final = re.compile(r"""(?:[^\s"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')+""")
"""Words of an entry; quotes keep blanks together, as they do for Hydra."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One experiment that is to be trained."""

    name: str
    """Under configs/experiment."""
    overrides: tuple[str, ...]
    """Hydra overrides of its own."""
    label: str
    """Name in the report, distinct in the comparison."""

    @property
    def folder(self) -> str:
        """The label as a folder's name."""
        return re.sub(r"[^\w.-]+", "-", self.label).strip("-.")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A comparison as its words say it."""

    entries: tuple[Entry, ...]
    """Experiments to train, in order."""
    places: tuple[Path, ...]
    """Finished runs, or folders that hold some, in order."""
    places_first: bool
    """Whether the baseline is among ``places``."""
    overrides: tuple[str, ...]
    """Hydra overrides of every run that is trained."""
    seeds: tuple[int, ...] | None
    """Of every experiment; None: the one seed of the config."""
    out: Path
    """Folder of the report and of the runs, ``<out>/<label>/seed_<seed>``."""
    words: tuple[str, ...] = ()
    """All of them as they were typed, for the report."""

    def __post_init__(self) -> None:
        """Refuse what can't be compared.

        Raises:
            ConfigError: nothing named, a key that compare sets itself, two labels for one folder,
                or words that only training heeds without an experiment.
        """
        if not self.entries and not self.places:
            raise ConfigError("name the experiments to compare: copris compare grpo copris cppo")
        if not self.entries and (self.overrides or self.seeds):
            word = self.overrides[0] if self.overrides else "--seeds"
            raise ConfigError(f"{word} is for training: name an experiment too, or leave it out")
        for word in (*self.overrides, *(x for each in self.entries for x in each.overrides)):
            _refuse_override(word, with_seeds=self.seeds is not None)
        folders = [entry.folder for entry in self.entries]
        for entry in self.entries:
            if not entry.folder or folders.count(entry.folder) > 1:
                raise ConfigError(
                    f"{entry.label!r} needs a name of its own: '{entry.name} ... {AS} NAME'"
                )


def entries_of(words: Sequence[str]) -> tuple[Entry, ...]:
    """Read words such as ``grpo`` or ``'cppo pruning.pruning_rate=0.75 as cppo75'``.

    Raises:
        ConfigError: a word in an entry is no override, or ``as`` has no name.
    """
    entries: list[Entry] = []
    for word in words:
        entry = _entry(word)
        number = 1
        while any(entry.folder == other.folder for other in entries) and AS not in word.split():
            number += 1
            entry = Entry(
                name=entry.name, overrides=entry.overrides, label=f"{_entry(word).label} #{number}"
            )
        entries.append(entry)
    return tuple(entries)


def seeds_of(text: str) -> tuple[int, ...]:
    """``3`` as 0, 1, 2; ``4,5`` as 4 and 5; ``7,`` as 7 alone.

    Raises:
        ConfigError: no numbers, none at all, or one twice.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise ConfigError(f"--seeds {text}: give a number of seeds, or a list such as 0,1,2")
    numbers = tuple(int(part) for part in parts)
    seeds = numbers if "," in text else tuple(range(numbers[0]))
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {text}: give 1 or more seeds, each once")
    return seeds


def is_override(word: str) -> bool:
    """Whether a word is an override for all; an entry's first word is a name."""
    first = (WORDS.findall(word) or [""])[0]
    return "=" in first or first.startswith(("+", "~"))


def _entry(word: str) -> Entry:
    name, *rest = WORDS.findall(word)
    label = None
    if AS in rest:
        place = rest.index(AS)
        if place != len(rest) - 2:
            raise ConfigError(f"{word!r}: end it with '{AS} NAME', a name without blanks")
        label = rest[-1]
        rest = rest[:place]
    for each in rest:
        if not is_override(each):
            raise ConfigError(f"{word!r}: {each} is no key=value; name each experiment by itself")
    own = [each.lstrip("+").rpartition("=")[0].rpartition(".")[2] for each in rest]
    values = [each.rpartition("=")[2] for each in rest]
    made = " ".join([name, *(f"{key}={value}" for key, value in zip(own, values, strict=True))])
    return Entry(name=name, overrides=tuple(rest), label=label or made)


def _refuse_override(word: str, *, with_seeds: bool) -> None:
    bare = word.lstrip("+")
    if bare.startswith(SET_BY_COMPARE):
        raise ConfigError(
            f"{word}: compare sets it for each run; name experiments alone, the folder by --out"
        )
    if with_seeds and bare.startswith("seed="):
        raise ConfigError(f"{word}: --seeds sets it for each run; leave one of the two out")
