"""What ``copris check`` reads of the model: its config.json, or what the policy group says of it.

A policy group (``configs/policy``) may carry the fields of its model's config.json, so that a run
can be checked on a machine without the model. Where the folder is, its file wins. This file refuses
to change anything.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from omegaconf import DictConfig

from copris_core.verl_adapter.config import PolicyChoice, RunConfig
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import number, optional

ROLLOUT: Final = "actor_rollout_ref.rollout"
ACTOR: Final = "actor_rollout_ref.actor"


def model_config(policy: PolicyChoice) -> Mapping[str, Any]:
    """The fields of the model's config.json; empty for a hub model that nothing is known of.

    Raises:
        ConfigError: the folder has none, or one that contradicts the policy group.
    """
    if policy.hub_id is not None:
        return policy.architecture
    file = policy.path / "config.json"
    if not file.is_file():
        raise ConfigError(
            f"policy.path={policy.path} has no config.json: give the folder of a Hugging Face "
            "checkpoint"
        )
    config: Any = json.loads(file.read_text())
    for field, value in policy.architecture.items():
        if field in config and config[field] != value:
            raise ConfigError(
                f"{file} has {field}={config[field]}, policy={policy.name} {value}: it is another "
                "model, use policy=hf"
            )
    found: Mapping[str, Any] = config
    return found


def refuse_model(run: RunConfig, cfg: DictConfig) -> Mapping[str, Any]:
    """Refuse a model that is none, or whose positions are too few for prompt and response.

    Returns:
        As ``model_config``.

    Raises:
        ConfigError: see above.
    """
    config = model_config(run.policy)
    positions = config.get("max_position_embeddings")
    _refuse_lengths(run, cfg, positions=int(positions) if positions else None)
    return config


def model_notes(run: RunConfig) -> Iterator[str]:
    """Where the model still has to come from."""
    policy = run.policy
    if policy.hub_id is not None:
        known = f"sizes are those of policy={policy.name}" if policy.architecture else "not checked"
        yield f"{policy.hub_id} is not here: fetched when training starts; {known}"


def _refuse_lengths(run: RunConfig, cfg: DictConfig, *, positions: int | None) -> None:
    prompt, response = (
        number(cfg, "data.max_prompt_length"),
        number(cfg, "data.max_response_length"),
    )
    limit = number(cfg, f"{ROLLOUT}.max_model_len")
    needed = f"prompt {prompt} + response {response} tokens exceed"
    if prompt + response > limit:
        raise ConfigError(
            f"{needed} {ROLLOUT}.max_model_len={limit}: remove that key, or lower "
            "data.max_response_length"
        )
    if positions is not None and prompt + response > positions:
        raise ConfigError(
            f"{needed} the {positions} positions of {run.policy.path}: lower "
            "data.max_response_length"
        )
    packed = number(cfg, f"{ACTOR}.ppo_max_token_len_per_gpu")
    if optional(cfg, f"{ACTOR}.use_dynamic_bsz", bool) and prompt + response > packed:
        raise ConfigError(
            f"{needed} {ACTOR}.ppo_max_token_len_per_gpu={packed}: raise it, one response must fit"
        )
