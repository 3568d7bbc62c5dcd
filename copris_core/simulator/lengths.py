"""How long responses are: a property of the prompt and the response, not of who samples them."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Lengths(Protocol):
    """A distribution of response lengths."""

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of one group's responses, in tokens, each >= 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalLengths:
    """Lognormal lengths with a cap, in part shared by the responses of one prompt.

    log length = log median + sigma (sqrt(share) z_prompt + sqrt(1 - share) z_response)
    """

    median: float
    """Tokens that half of the responses exceed."""
    sigma: float
    """Standard deviation of the log length; 1.0 is a heavy tail."""
    cap: int
    """Most response tokens, the budget."""
    prompt_share: float = 0.0
    """Share of the variance of the log length that the responses of a prompt have in common."""

    def __post_init__(self) -> None:
        """Refuse what cannot be a distribution of lengths."""
        if not 1 <= self.median <= self.cap or self.sigma < 0:
            raise ValueError(f"lengths need 1 <= median <= cap and sigma >= 0, got {self}")
        if not 0 <= self.prompt_share <= 1:
            raise ValueError(f"prompt_share is a share of 0..1, got {self.prompt_share}")

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of one group's responses, in tokens."""
        z_prompt, *z_responses = rng.standard_normal(1 + group_size).tolist()
        shared = math.sqrt(self.prompt_share) * z_prompt
        own = math.sqrt(1 - self.prompt_share)
        logs = [math.log(self.median) + self.sigma * (shared + own * z) for z in z_responses]
        return [min(self.cap, max(1, round(math.exp(log)))) for log in logs]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmpiricalLengths:
    """Lengths drawn with replacement from those that were measured."""

    tokens: tuple[int, ...]
    """Measured lengths, in tokens."""

    def __post_init__(self) -> None:
        """Refuse an empty list and lengths below one token."""
        if not self.tokens or min(self.tokens) < 1:
            raise ValueError("measured lengths must be a non-empty list of tokens >= 1")

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of one group's responses, in tokens."""
        picks = rng.integers(len(self.tokens), size=group_size).tolist()
        return [self.tokens[pick] for pick in picks]
