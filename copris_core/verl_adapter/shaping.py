"""From what the verifier says to what is trained on: the reward that a response is given.

Translates verl's agent-loop output for ``copris_core.filtering``; validation is never shaped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig
from torch import Tensor

from copris_core.filtering import shaped_reward
from copris_core.verl_adapter.prolonged_config import ShapingChoice, shaping_choice

TOLD = "reward_extra_info"
"""verl's name for what a reward function says beside the reward."""

SCORE = "score"
"""What the verifier gave, in verl's extra reward information."""

PENALTY = "length_penalty"
"""What the shaping took off it, likewise."""

TRUNCATED = "truncated"
"""Whether the response was cut off at its most tokens, likewise."""

SHAPED = (SCORE, PENALTY, TRUNCATED)


@dataclass(frozen=True, kw_only=True)
class Shaping:
    """The rules of a run."""

    choice: ShapingChoice | None
    """None: the reward is the score."""
    end_tokens: frozenset[int]
    """Tokens that end a response by the model's own will."""

    def reward(
        self, verdict: Mapping[str, float], tokens: Sequence[int], budget: int | None
    ) -> tuple[float, dict[str, float]]:
        """The reward of a response, and what verl keeps beside it.

        Args:
            verdict: what the verifier says, with ``score``.
            tokens: the response.
            budget: its most tokens; None in validation.
        """
        told = dict(verdict)
        if self.choice is None or budget is None:
            return told[SCORE], told
        truncated = len(tokens) >= budget and tokens[-1] not in self.end_tokens
        shaped = shaped_reward(
            told[SCORE],
            length=len(tokens),
            budget=budget,
            truncated=truncated,
            config=self.choice.rules(budget=budget),
        )
        told[PENALTY], told[TRUNCATED] = told[SCORE] - shaped.reward, float(truncated)
        return shaped.reward, told


def shaping_of(config: DictConfig, end_tokens: Sequence[int]) -> Shaping:
    """The rules that the config names."""
    return Shaping(choice=shaping_choice(config), end_tokens=frozenset(end_tokens))


def shaping_metrics(extra_fields: Iterable[Any]) -> dict[str, float]:
    """Means over rows of the queue, each with verl's extra fields.

    Rows whose agent loop gave a reward itself were not shaped and are left out.
    """
    told = [getattr(each, "data", each).get(TOLD) or {} for each in extra_fields]
    told = [each for each in told if all(name in each for name in SHAPED)]
    if not told:
        return {}
    means = {name: sum(each[name] for each in told) / len(told) for name in SHAPED}
    return {
        "reward/score_mean": means[SCORE],
        "reward/length_penalty": means[PENALTY],
        "reward/truncated_fraction": means[TRUNCATED],
    }


def scores_of_rows(partition_id: str, rows: list[str]) -> list[float]:
    """As ``score_of``, of the responses of rows that lie in the queue."""
    if not rows:
        return []
    fields = _fetched(partition_id, rows, "extra_fields")
    told = [getattr(each, "data", each).get(TOLD) or {} for each in fields]
    if all(SCORE in each for each in told):
        return [float(each[SCORE]) for each in told]
    rewards = _fetched(partition_id, rows, "rm_scores")  # nothing shapes what has no score
    return [
        float(each.get(SCORE, reward.sum())) for each, reward in zip(told, rewards, strict=True)
    ]


def score_of(output: Any) -> float:
    """What the verifier gave; for a reward function without a score, the reward."""
    final = output[-1] if isinstance(output, list) else output
    told = final.extra_fields.get(TOLD) or {}
    return float(told.get(SCORE, final.reward_score))


def _fetched(partition_id: str, rows: list[str], name: str) -> list[Any]:
    data = tq.kv_batch_get(keys=rows, partition_id=partition_id, select_fields=[name])[name]
    return list(data.unbind() if isinstance(data, Tensor) else data)
