"""The training score by which runs with other methods compare."""

from __future__ import annotations

from copris_core.report.run_folder import Row

SCORE_KEYS = ("filter/score_mean", "reward/score_mean", "reward/mean")
"""Mean score of a step's responses: over all groups, where some are filtered; before shaping, where
rewards are shaped; else the reward is the score. The first that a row has."""


def score(row: Row) -> float | None:
    """What the verifier gave a step's responses on average; None if the row does not say.

    Filtering leaves the groups that are neither all right nor all wrong, and shaping takes off what
    the verifier gave: the reward that is trained on says little of how good the policy is.
    """
    return next((row[key] for key in SCORE_KEYS if row.get(key) is not None), None)
