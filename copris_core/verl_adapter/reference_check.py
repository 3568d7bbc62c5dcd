"""What ``copris check`` refuses about a reference policy that is to be reset.

This file refuses to change anything.
"""

from typing import Final

from omegaconf import DictConfig

from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import optional, text

MODEL: Final = "actor_rollout_ref.model"
NO_ADAPTER: Final = {
    f"{MODEL}.lora_rank": "0",
    f"{MODEL}.lora.rank": "0",
    f"{MODEL}.lora_adapter_path": "null",
}
"""Where verl looks for an adapter, and what says that there is none."""

WANTS_REFERENCE: Final = ("actor_rollout_ref.actor.use_kl_loss", "algorithm.use_kl_in_reward")
"""What makes verl build a reference policy."""


def refuse_reference_reset(cfg: DictConfig) -> None:
    """Refuse a run that wants its reference policy reset and has none, or none that can be.

    Raises:
        ConfigError: see above.
    """
    for key, none in NO_ADAPTER.items():
        if optional(cfg, key, str if none == "null" else int):
            raise ConfigError(
                "the reference policy of a run with an adapter is the actor without it, so there "
                f"is nothing to reset: set {key}={none}, or reference_reset=none"
            )
    if not any(optional(cfg, key, bool) for key in WANTS_REFERENCE):
        raise ConfigError(
            "there is no reference policy to reset, because nothing measures a KL to it: add "
            "kl_control=fixed or kl_control=adaptive, or reference_reset=none"
        )
    for role in ("actor", "ref"):
        key = f"actor_rollout_ref.{role}.strategy"
        if text(cfg, key) != "fsdp2":
            raise ConfigError(
                f"{key}={text(cfg, key)}, but the reference policy is reset on the shards of "
                f"FSDP2: set {key}=fsdp2, or reference_reset=none"
            )
    if cut_of(cfg, "actor") != cut_of(cfg, "ref"):
        raise ConfigError(
            "actor and reference policy must be cut in the same way to reset one to the other: set "
            f"actor_rollout_ref.ref.fsdp_config.fsdp_size={cut_of(cfg, 'actor')}"
        )


def cut_of(cfg: DictConfig, role: str) -> int:
    """Over how many ranks a role's weights are cut, as verl reads it; -1 is all of them."""
    size = optional(cfg, f"actor_rollout_ref.{role}.fsdp_config.fsdp_size", int)
    return -1 if size is None else size
