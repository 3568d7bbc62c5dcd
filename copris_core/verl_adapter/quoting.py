"""Hydra overrides whose values are folders: blanks, commas and brackets mean something to Hydra."""

import re
from pathlib import Path


def path_override(key: str, path: Path) -> str:
    r"""``key="path"``, which Hydra reads back as that path.

    Inside quotes Hydra takes every character for itself but a quote, which needs a backslash, and
    the backslashes right before one, which need to be doubled.
    """
    doubled = re.sub(r'\\+(?="|$)', lambda found: 2 * found[0], str(path))
    escaped = doubled.replace('"', '\\"')
    return f'{key}="{escaped}"'
