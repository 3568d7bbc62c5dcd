"""``copris picture``: its words. What a prolonged run came to: `copris_core.report.prolonged`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from copris_core.cli_plan_parts import Words

PICTURE_HELP: Final = """\
copris picture RUN [--out FILE]

Draws a prolonged run (experiment=prorl and its stacks), also while it trains: accuracy of each
domain and blended, KL to the reference beside its target and the coefficient, entropy and length,
filtered groups and truncated responses; resets of the reference with their reasons, restarts of the
process. Prints the numbers of each stretch between two resets.

  --out FILE   the PNG to write (default: RUN/prolonged.png)
"""

DEFAULT_NAME: Final = "prolonged.png"
PIPE_WIDTH: Final = 100
"""Columns where no terminal says how many there are."""


@dataclass(frozen=True, kw_only=True)
class PictureWords:
    """The command line, taken apart."""

    run: Path
    """Folder of the run."""
    out: Path
    """File of the picture."""


def picture(words: list[str]) -> int:
    """Run ``copris picture``.

    Raises:
        ConfigError: the words or the run folder cannot be.
    """
    from rich.console import Console

    from copris_core.report.prolonged import read_prolonged
    from copris_core.report.prolonged_picture import draw_prolonged
    from copris_core.report.prolonged_view import prolonged_view
    from copris_core.report.run_folder import write_bytes
    from copris_core.verl_adapter.errors import ConfigError

    told = split_picture(words)
    try:
        run = read_prolonged(told.run, on_torn=lambda said: None)
        told.out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(told.out, draw_prolonged(run))
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(prolonged_view(run))
    sys.stdout.write(f"{told.out}\n")
    return 0


def split_picture(words: Sequence[str]) -> PictureWords:
    """Take the words of ``picture`` apart.

    Raises:
        ConfigError: an unknown word, or not exactly one run.
    """
    parser = Words("copris picture")
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(list(words))
    return PictureWords(run=asked.run, out=asked.out or asked.run / DEFAULT_NAME)
