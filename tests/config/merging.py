"""Options of the config groups, merged as Hydra composes them, without its second of work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"


def merged(cfg: Any, *overrides: str) -> Any:
    """The config with ``group=option`` and ``key=value`` overrides put over it, in order."""
    from omegaconf import OmegaConf

    for each in overrides:
        group, _, option = each.partition("=")
        file = CONFIGS / group / f"{option}.yaml"
        more = OmegaConf.load(file) if file.is_file() else OmegaConf.from_dotlist([each])
        cfg = OmegaConf.merge(cfg, more)
    return cfg


def refusal(read: Callable[..., Any], *overrides: str) -> str:
    """The one line with which ``read`` refuses the overrides."""
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError) as refused:
        read(*overrides)
    assert "\n" not in str(refused.value)
    return str(refused.value)
