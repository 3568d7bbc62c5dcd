"""A nested config as dotted keys and texts, and which keys two configs do not share.

Refuses to know what a key means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from copris_core.report.numbers import UNKNOWN

PLACES = (
    "run.",
    "ray_kwargs.",
    "data.train_files",
    "data.val_files",
    "actor_rollout_ref.rollout.router_config_path",
    "actor_rollout_ref.rollout.agent.agent_loop_config_path",
    "trainer.default_local_dir",
    "trainer.validation_data_dir",
    "trainer.rollout_data_dir",
    "trainer.logger",
    "trainer.max_actor_ckpt_to_keep",
    "trainer.max_critic_ckpt_to_keep",
    "trainer.resume_from_path",
    "trainer.resume_mode",
    "trainer.save_freq",
    "trainer.total_epochs",
    "trainer.val_before_train",
)
"""Keys, and beginnings of keys, that say where a run lies and how it was saved and continued."""
SEEDS = ("seed", "data.seed")
SEED_ENDINGS = (".seed", "_seed")
"""verl's copies of the seed, such as ``actor_rollout_ref.actor.fsdp_config.seed``."""
ROWS = "task."
"""Keys that say which rows there are, seeds among them: another one is another task."""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted key -> value as text; an empty section is a value."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flatten(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            found[f"{prefix}{key}"] = text
    return found


def settings(config: Mapping[str, Any]) -> dict[str, str]:
    """What decides what is trained: all but `PLACES`."""
    return {key: x for key, x in flatten(config).items() if not key.startswith(PLACES)}


def without_seed(leaves: Mapping[str, str]) -> dict[str, str]:
    """The same without the seed of the run; the rows' own stays."""
    return {key: x for key, x in leaves.items() if not _is_seed(key)}


def differences(configs: Sequence[Mapping[str, str]]) -> list[list[str]]:
    """Rows of key and one value a config, for the keys that differ; a hyphen where absent."""
    keys = sorted(set().union(*configs))
    rows = [[key, *(x.get(key, UNKNOWN) for x in configs)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _is_seed(key: str) -> bool:
    return not key.startswith(ROWS) and (key in SEEDS or key.endswith(SEED_ENDINGS))
