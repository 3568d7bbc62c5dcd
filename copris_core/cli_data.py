"""``copris data``: its words, and what it prints. The sets themselves: `tasks/data_sets.py`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from copris_core.cli_plan_parts import Words

if TYPE_CHECKING:
    from copris_core.tasks.data_sets import DataRequest, DataSets

DATA_HELP: Final = """\
copris data make prorl --out DIR [--sizes math=400,code=240,...] [--validation 200] [--seed 0]
                                 [--math-path FILE] [--check 1000|all]

Makes ProRL's five domains and their validation sets in verl's schema: DIR/<domain>/train.parquet
and val.parquet, and DIR/train.parquet and val.parquet with all of them. DIR is made whole or not
at all; the same words give the same bytes.

  copris data make prorl --out data/prorl --sizes code=240,stem=250,logic=370,instruction=100
  copris train task=file task.path=data/prorl/train.parquet task.val_path=data/prorl/val.parquet

  --sizes        training rows by domain; one that is left out is not made. Without it, ProRL's own:
                 math=40000,code=24000,stem=25000,logic=37000,instruction=10000
  --validation   validation rows of each domain, at most
  --math-path    a .jsonl or .parquet file of math problems; without it, they come from the hub
  --check        rows of each set whose reference answer must score 1; all takes a while for code
"""

RECIPES: Final = ("prorl",)


@dataclass(frozen=True, kw_only=True)
class DataWords:
    """The command line, taken apart."""

    request: "DataRequest"
    """Which sets to make."""
    out: Path
    """Folder to make."""
    check: int | None
    """Rows of each set whose reference answer is scored; None: all."""


def data(words: list[str]) -> int:
    """Run ``copris data make``.

    Raises:
        ConfigError: the words, the folder or a size cannot be.
    """
    from copris_core.tasks import TaskDataError
    from copris_core.tasks.data_sets import make_data_sets
    from copris_core.verl_adapter.errors import ConfigError

    told = split_data(words)
    try:
        made = make_data_sets(told.request, told.out, check=told.check)
    except TaskDataError:
        raise
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    _print(made, told.out)
    return 0


def split_data(words: Sequence[str]) -> DataWords:
    """Take the words of ``data`` apart.

    Raises:
        ConfigError: an unknown word or domain, or no number where one belongs.
    """
    from copris_core.tasks.data_sets import DataRequest
    from copris_core.verl_adapter.errors import ConfigError

    if list(words[:1]) != ["make"]:
        raise ConfigError("copris data knows one word: copris data make prorl --out DIR")
    parser = Words("copris data")
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes")
    parser.add_argument("--validation", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--math-path")
    parser.add_argument("--check", default="1000")
    asked = parser.parse_args(list(words[1:]))
    sizes = {} if asked.sizes is None else {"sizes": sizes_of(asked.sizes)}
    try:
        request = DataRequest(
            validation=asked.validation, seed=asked.seed, math_path=asked.math_path, **sizes
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return DataWords(
        request=request, out=asked.out.expanduser().absolute(), check=_check(asked.check)
    )


def sizes_of(word: str) -> Mapping[str, int]:
    """Read ``math=400,code=240``.

    Raises:
        ConfigError: it is something else, or names a domain twice.
    """
    from copris_core.verl_adapter.errors import ConfigError

    sizes: dict[str, int] = {}
    for each in word.split(","):
        domain, _, size = (part.strip() for part in each.partition("="))
        if not domain or not size.isdecimal() or domain in sizes:
            raise ConfigError(f"--sizes {word}: write each domain once, as math=400,code=240")
        sizes[domain] = int(size)
    return sizes


def _check(word: str) -> int | None:
    from copris_core.verl_adapter.errors import ConfigError

    if word != "all" and not (word.isdecimal() and int(word)):
        raise ConfigError(f"--check {word}: give a whole number of 1 or more, or all")
    return None if word == "all" else int(word)


def _print(made: "DataSets", out: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("domain", box=box.SIMPLE_HEAD)
    for heading in ("train", "different prompts", "validation", "answers checked"):
        table.add_column(heading, justify="right")
    for each in made.domains:
        checked = str(each.checked) if each.checked else "none known"
        table.add_row(
            each.domain, str(each.train), str(each.prompts), str(each.validation), checked
        )
    train, held_out = sum(x.train for x in made.domains), sum(x.validation for x in made.domains)
    table.add_row("all", str(train), "", str(held_out), "")
    Console().print(table)
    state = "made" if made.is_new else "already there, unchanged"
    sys.stdout.write(
        f"{out}: {state}; no prompt is in both splits\n"
        f"copris train task=file task.path={out}/train.parquet task.val_path={out}/val.parquet\n"
    )
