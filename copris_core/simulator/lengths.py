"""How long responses are: a property of the prompt and the response, not of who samples them."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

SHAPE_DRAWS = 20_000
"""Lengths looked at for the shape of a distribution; the same ones every time."""


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
        """Refuse what cannot be a distribution of lengths.

        Raises:
            ValueError: see above.
        """
        if not self.median >= 1:
            raise ValueError(f"lengths need a median of at least 1 token, got {self.median:g}")
        if not self.cap >= self.median:
            raise ValueError(
                f"lengths need a cap of at least their median, got a cap of {self.cap:g} tokens "
                f"and a median of {self.median:g}"
            )
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"lengths need a sigma of at least 0, got {self.sigma:g}")
        _check_share(self.prompt_share)

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of one group's responses, in tokens."""
        z_prompt, *z_responses = rng.standard_normal(1 + group_size).tolist()
        shared = math.sqrt(self.prompt_share) * z_prompt
        own, log_median = math.sqrt(1 - self.prompt_share), math.log(self.median)
        logs = [log_median + self.sigma * (shared + own * z) for z in z_responses]
        return [min(self.cap, max(1, round(math.exp(log)))) for log in logs]


@dataclass(frozen=True, slots=True, kw_only=True)
class EmpiricalLengths:
    """Lengths drawn with replacement from those that were measured.

    length = the measured quantile at Phi(sqrt(share) z_prompt + sqrt(1 - share) z_response)
    """

    tokens: tuple[int, ...]
    """Measured lengths, in tokens."""
    prompt_share: float = 0.0
    """Share of the variance, on the normal scale, that a prompt's responses have in common."""

    def __post_init__(self) -> None:
        """Refuse an empty list and lengths below one token; sort them.

        Raises:
            ValueError: see above.
        """
        if not self.tokens or min(self.tokens) < 1:
            raise ValueError("measured lengths must be a non-empty list of tokens >= 1")
        _check_share(self.prompt_share)
        object.__setattr__(self, "tokens", tuple(sorted(self.tokens)))

    def draw(self, rng: np.random.Generator, group_size: int) -> list[int]:
        """Lengths of one group's responses, in tokens."""
        num = len(self.tokens)
        if not self.prompt_share:
            picks = rng.integers(num, size=group_size).tolist()
            return [self.tokens[pick] for pick in picks]
        z_prompt, *z_responses = rng.standard_normal(1 + group_size).tolist()
        shared, own = math.sqrt(self.prompt_share) * z_prompt, math.sqrt(1 - self.prompt_share)
        places = [NormalDist().cdf(shared + own * z) for z in z_responses]
        return [self.tokens[min(num - 1, int(place * num))] for place in places]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the planner must know of a distribution of lengths, in tokens."""

    mean: float
    """Mean length."""
    mean_held: float
    """Mean tokens that a response in flight has so far, where slots turn over: E[L^2] / (2 E[L]).
    Long ones are in flight longer, and each is caught halfway on average."""
    p99: float
    """Length that one in a hundred exceeds."""
    longest: int
    """Longest of those looked at."""


def shape_of(lengths: Lengths) -> Shape:
    """The shape of ``lengths``, from ``SHAPE_DRAWS`` of them: within 1% for a sigma of 1."""
    rng = np.random.default_rng(0)
    tokens = np.array([lengths.draw(rng, 1)[0] for _ in range(SHAPE_DRAWS)], dtype=np.float64)
    return Shape(
        mean=float(tokens.mean()),
        mean_held=float((tokens**2).mean() / (2 * tokens.mean())),
        p99=float(np.quantile(tokens, 0.99)),
        longest=int(tokens.max()),
    )


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"prompt_share is a share of 0..1, got {share}")
