"""Keeps published test sets out of training: neither trained on nor used to choose a checkpoint.

Training validates on rows held out of its own data, so that the best checkpoint is never the best
on a test set; ``copris eval`` alone reads those. This file refuses to know how rows are read.
"""

from typing import Final

TEST_SETS: Final = {
    "huggingfaceh4/math-500": "math500",
    "huggingfaceh4/aime_2024": "aime24",
    "maxwell-jia/aime_2024": "aime24",
    "math-ai/aime24": "aime24",
    "ai-mo/aimo-validation-aime": "aime24",
    "math-ai/aime25": "aime25",
    "opencompass/aime2025": "aime25",
    "yentinglin/aime_2025": "aime25",
    "math-ai/amc23": "amc23",
    "ai-mo/aimo-validation-amc": "amc23",
    "zwhe99/amc23": "amc23",
    "math-ai/minervamath": "minerva",
    "math-ai/olympiadbench": "olympiadbench",
    "hothan/olympiadbench": "olympiadbench",
    "openai/openai_humaneval": "code",
    "humaneval": "code",
    "google/ifeval": "instruction",
}
"""Hub ids, in lower case, that hold nothing but a published test set, and their name in
``copris eval --task``."""


def is_test_set(place: str) -> bool:
    """Whether a hub id names a published test set."""
    return place.casefold() in TEST_SETS


def refuse_test_set(place: str | None, *, key: str, mend: str) -> None:
    """Raise ValueError, in one line with the mend, when a setting names a published test set.

    Args:
        place: a hub id or a file; None is no place.
        key: the setting, such as ``task.val_path``.
        mend: what to set instead.
    """
    name = TEST_SETS.get(place.casefold()) if place else None
    if name is not None:
        raise ValueError(
            f"{key}={place} is a test set, which training may not see: measure on it by "
            f"`copris eval --task {name}`, and {mend}"
        )
