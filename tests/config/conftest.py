"""Composing takes a second, so what several tests read is composed once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from copris_core.verl_adapter.config import RunConfig


@pytest.fixture(scope="session")
def entered() -> Callable[..., tuple[DictConfig, RunConfig]]:
    """``door.enter`` with its overrides as arguments; answers are shared, so do not change them."""
    from copris_core.verl_adapter.door import enter

    return functools.cache(lambda *overrides: enter(overrides))
