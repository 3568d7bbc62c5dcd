"""Which keys a command line may name, and what was probably meant by one that it may not.

This file refuses to know what any key does.
"""

import difflib
from collections.abc import Iterable
from typing import Final

OWN_GROUPS: Final = (
    "strategy",
    "correction",
    "pruning",
    "clip",
    "group_filter",
    "reward_shaping",
    "kl_control",
    "reference_reset",
    "entropy_control",
    "length_schedule",
    "platform",
    "policy",
    "task",
    "experiment",
)
"""Config groups of ours; each option is one YAML file."""

OPEN_NODES: Final = {
    "actor_rollout_ref.model.override_config": "fields of the model's own config.json",
    "actor_rollout_ref.rollout.engine_kwargs": "arguments of the engine itself",
    "actor_rollout_ref.rollout.checkpoint_engine.engine_kwargs": "arguments of the weight sync",
    "actor_rollout_ref.rollout.custom": "verl's place for extensions",
    "actor_rollout_ref.actor.optim.override_optimizer_config": "arguments of the optimizer class",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision": "verl's YAML leaves it out",
    "actor_rollout_ref.ref.fsdp_config.mixed_precision": "verl's YAML leaves it out",
    "data.apply_chat_template_kwargs": "arguments of the chat template",
    "data.mm_processor_kwargs": "arguments of the processor",
    "reward.custom_reward_function.reward_kwargs": "arguments of the reward function",
    "ray_kwargs.ray_init": "arguments of ray.init",
    "trainer.v1.sampler.sampler_kwargs": "arguments of the sampler",
    "task.parts": "tasks of a mixture",
    "task.settings": "fields of a task's own class",
    "method.settings": "fields of a method's own class",
    "reference_reset.weights": "domains of the validation",
}
"""Sections whose keys another program defines, and which one; ``+key=value`` is allowed there."""

CODE_ONLY_KEYS: Final = frozenset(
    {
        "actor_rollout_ref.rollout.repetition_penalty",
        "actor_rollout_ref.rollout.standalone_gpu_memory_utilization",
        "actor_rollout_ref.rollout.checkpoint_manager_class",
    }
)
"""Fields of verl's dataclasses that its YAML leaves out; ``+key=value`` is allowed for them."""

UNUSED_SECTIONS: Final = (
    "critic.",
    "reward_model.",
    "reward.reward_model.",
    "distillation.",
    "global_profiler.",
)
"""Sections of verl that none of our runs reads."""


def open_node_of(key: str) -> str | None:
    """The open section a key lies below; None when there is none."""
    for node in OPEN_NODES:
        if key.startswith(node + "."):
            return node
    return None


def nearest_key(key: str, known: Iterable[str]) -> str | None:
    """The known key most like a mistyped one; None when nothing is.

    A slip is looked for level by level (``a.b.lrr`` -> ``a.b.lr``), then in the whole key, then in
    its last word (``lr`` -> ``actor_rollout_ref.actor.optim.lr``).
    """
    keys = sorted(set(known))
    sections = {key[:cut] for key in keys for cut in _dots(key)}
    mended = _mend_by_level(key, {*keys, *sections})
    if mended in keys:
        return mended
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.75)
    if close:
        return close[0]
    return _by_last_word(key, keys)


def _dots(key: str) -> list[int]:
    return [position for position, character in enumerate(key) if character == "."]


def _mend_by_level(key: str, paths: set[str]) -> str | None:
    """Walk down from the top; at each level take the word itself or its nearest sibling."""
    place = ""
    for word in key.split("."):
        siblings = [path[len(place) :] for path in paths if path.startswith(place)]
        words = sorted({sibling for sibling in siblings if "." not in sibling})
        close = [word] if word in words else difflib.get_close_matches(word, words, 1, 0.6)
        if not close:
            return None
        place += close[0] + "."
    return place.removesuffix(".")


def _by_last_word(key: str, keys: list[str]) -> str | None:
    word = key.rpartition(".")[2]
    words = {known.rpartition(".")[2] for known in keys}
    close = difflib.get_close_matches(word, sorted(words), n=1, cutoff=0.8)
    ending = [known for known in keys if close and known.rpartition(".")[2] == close[0]]
    return min(ending, key=_rarity) if ending else None


def _rarity(key: str) -> tuple[bool, int, str]:
    """Sorts keys that a run reads before those of parts it does not have, short before long."""
    return key.startswith(UNUSED_SECTIONS), key.count("."), key
