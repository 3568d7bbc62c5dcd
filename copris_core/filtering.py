"""Which groups are worth training on, and what length does to a reward (DAPO, arXiv 2503.14476).

A group whose responses all have the same score teaches nothing: its advantages are 0. Dynamic
sampling (sec. 3.2) filters such groups and samples others in their place; ``FilterBook`` bounds
that. Reward shaping (sec. 3.4, and ProRL v2) tells too long responses from good ones.

Knows scores and lengths; not queues, tensors or verifiers. Filter by the verifier's score, shape
what is trained on: shaped rewards nearly always differ a little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal, TypeAlias, get_args

WhenExceeded: TypeAlias = Literal["keep", "stop"]


# ---- dynamic sampling ----


def has_spread(scores: Sequence[float], tolerance: float = 0.0) -> bool:
    """Whether a group's scores differ: ``max - min > tolerance``.

    For scores of 0 and 1 this is DAPO's constraint 0 < #correct < G (its eq. 11); a group of one
    never has a spread.

    Args:
        scores: one per response of the group.
        tolerance: largest difference that counts as none.

    Raises:
        ValueError: a score is not finite.
    """
    for score in scores:
        _check_finite("score", score)
    return len(scores) > 1 and max(scores) - min(scores) > tolerance


class Judgement(Enum):
    """What becomes of a complete group."""

    TRAIN = auto()
    """Its scores differ."""
    FILTER = auto()
    """They do not: sample another prompt in its place."""
    KEEP_ANYWAY = auto()
    """They do not, but the stage has filtered enough: train it, its policy gradient is 0."""
    STOP = auto()
    """They do not, and the stage has filtered enough: end the run with ``FilterBook.complaint``."""


class FilterBook:
    """Says which groups are trained, so that no stage samples without end.

    Groups without spread are filtered while at most ``max_batches`` batches of B groups were
    completed in the stage (trained or filtered), then they are kept, or end the run. Where they are
    kept, a stage therefore completes at most (max_batches + 1) B groups to train B. DAPO's public
    code bounds the batches in the same way (``max_num_gen_batches``) and then stops.
    """

    def __init__(
        self,
        *,
        groups_per_stage: int,
        max_batches: int,
        when_exceeded: WhenExceeded = "keep",
        tolerance: float = 0.0,
    ) -> None:
        """Begin the first stage.

        Args:
            groups_per_stage: B, groups trained per stage.
            max_batches: batches of B groups that a stage may complete before it filters no more.
            when_exceeded: ``keep`` trains groups without spread then, ``stop`` ends the run.
            tolerance: of ``has_spread``.

        Raises:
            ValueError: an argument is out of its range.
        """
        if groups_per_stage < 1 or max_batches < 1:
            raise ValueError(
                f"group_filter.max_batches={max_batches} and groups_per_stage={groups_per_stage} "
                "must be 1 or more"
            )
        if when_exceeded not in get_args(WhenExceeded):
            raise ValueError(
                f"group_filter.when_exceeded={when_exceeded!r} must be one of "
                f"{', '.join(get_args(WhenExceeded))}"
            )
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"group_filter.tolerance={tolerance} must be 0 or more")
        self._most = max_batches * groups_per_stage
        self._when_exceeded = when_exceeded
        self._tolerance = tolerance
        self.begin_stage()

    def begin_stage(self) -> None:
        """Count from 0 again."""
        self._completed = self._filtered = self._kept = self._num_scores = 0
        self._score_sum = 0.0

    def judge(self, scores: Sequence[float]) -> Judgement:
        """Book one complete group of the stage and say what becomes of it.

        Raises:
            ValueError: a score is not finite; nothing was booked.
        """
        is_trainable = has_spread(scores, self._tolerance)
        self._completed += 1
        self._num_scores += len(scores)
        self._score_sum += sum(scores)
        if is_trainable:
            return Judgement.TRAIN
        if self._completed <= self._most:
            self._filtered += 1
            return Judgement.FILTER
        if self._when_exceeded == "stop":
            return Judgement.STOP
        self._kept += 1
        return Judgement.KEEP_ANYWAY

    @property
    def complaint(self) -> str:
        """What to tell the user when the judgement is STOP."""
        return (
            f"{self._filtered} of {self._completed} groups of this stage had no spread in their "
            "scores: the prompts are too easy or too hard; change them, raise "
            "group_filter.max_batches or set group_filter.when_exceeded=keep"
        )

    def metrics(self) -> dict[str, float]:
        """Groups of this stage that were filtered, and that were kept without spread.

        ``filter/score_mean`` is the mean score of all complete groups, the filtered ones included;
        absent when none is complete. ``reward/mean`` knows the trained groups alone, of which none
        is all right or all wrong, so it says less of the policy.
        """
        found: dict[str, float] = {
            "filter/groups_filtered": self._filtered,
            "filter/kept_without_spread": self._kept,
        }
        if self._num_scores:
            found["filter/score_mean"] = self._score_sum / self._num_scores
        return found


# ---- reward shaping ----


@dataclass(frozen=True, kw_only=True)
class OverlongConfig:
    """A penalty that grows towards the budget's end (DAPO's soft overlong punishment)."""

    buffer: int
    """Tokens before the budget's end over which the penalty grows; the paper's is 4096 of 20480."""
    factor: float = 1.0
    """Penalty at the budget's end."""

    def __post_init__(self) -> None:
        """Refuse a penalty that rewards.

        Raises:
            ValueError: a field is out of its range.
        """
        if self.buffer < 1:
            raise ValueError(
                f"reward_shaping.overlong_share gives a buffer of {self.buffer} tokens: raise it"
            )
        if not 0 <= self.factor < math.inf:
            raise ValueError(f"reward_shaping.overlong_penalty={self.factor} must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class CosineConfig:
    """A bonus for short correct responses (ProRL v2's scheduled length reward)."""

    weight: float
    """lambda, of the length reward in the reward."""
    eta_min: float = 0.0
    """Length reward of a response as long as the budget."""
    eta_max: float = 1.0
    """Length reward of an empty response."""
    correct_at: float = 1.0
    """Smallest score that counts as correct; a response below it gets no bonus."""

    def __post_init__(self) -> None:
        """Refuse a bonus for length.

        Raises:
            ValueError: a field is out of its range.
        """
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"reward_shaping.cosine_weight={self.weight} must be 0 or more")
        if not -math.inf < self.eta_min <= self.eta_max < math.inf:
            raise ValueError(
                f"reward_shaping.cosine_minimum={self.eta_min} must not be above "
                f"cosine_maximum={self.eta_max}: swap them"
            )
        if not 0 < self.correct_at <= 1:
            raise ValueError(
                f"reward_shaping.cosine_correct_at={self.correct_at} must lie in (0, 1]"
            )


@dataclass(frozen=True, kw_only=True)
class ShapingConfig:
    """What is done to a score before it is trained on; every part may be absent."""

    overlong: OverlongConfig | None = None
    """Penalty near the budget's end; None: none."""
    truncated_factor: float | None = None
    """What the score of a response cut off at its budget is multiplied by (ProRL v2, "stop
    properly": 0); None leaves it."""
    cosine: CosineConfig | None = None
    """Bonus for short correct responses; None: none."""

    def __post_init__(self) -> None:
        """Refuse a factor that rewards truncation.

        Raises:
            ValueError: see above.
        """
        if self.truncated_factor is not None and not 0 <= self.truncated_factor <= 1:
            raise ValueError(
                f"reward_shaping.truncated_factor={self.truncated_factor} must lie in [0, 1]"
            )


@dataclass(frozen=True, kw_only=True)
class ShapedReward:
    """A score after shaping."""

    reward: float
    """What to train on: the score left by the truncation rule, plus bonus, plus penalty."""
    bonus: float
    """The weighted length reward in it; 0 for a response that is not correct."""
    penalty: float
    """The overlong penalty in it; 0 or less."""


def overlong_penalty(length: int, *, maximum: int, buffer: int, factor: float = 1.0) -> float:
    """DAPO's soft overlong punishment (arXiv 2503.14476, eq. 13), times ``factor``.

        0                                          length <= maximum - buffer
        factor ((maximum - buffer) - length) / buffer              up to maximum
        -factor                                    from maximum on

    Args:
        length: tokens of the response.
        maximum: its budget, in tokens.
        buffer: tokens before the budget's end over which the penalty grows.
        factor: penalty at the end, 0 or more.

    Raises:
        ValueError: a negative length, or a buffer that does not fit into the budget.
    """
    if not 1 <= buffer <= maximum:
        raise ValueError(
            f"overlong buffer {buffer} must lie between 1 and the response budget of {maximum}: "
            "lower reward_shaping.overlong_share"
        )
    _check_length(length)
    over = min(max(length - (maximum - buffer), 0), buffer)
    return -factor * (over / buffer) if over else 0.0  # a share of 1 gives -factor exactly


def cosine_length_reward(length: int, maximum: int, eta_min: float, eta_max: float) -> float:
    """ProRL v2's length reward: from ``eta_max`` at no tokens down to ``eta_min`` at the budget.

        eta_min + (eta_max - eta_min) (1 + cos(pi length / maximum)) / 2

    v2 adds lambda times it to the reward of correct responses, in windows of 100 updates with 500
    between them (``copris_core.controllers.length_schedule.Windows``).

    Args:
        length: tokens of the response; more than ``maximum`` counts as ``maximum``.
        maximum: its budget, in tokens.
        eta_min: reward at the budget.
        eta_max: reward at no tokens.

    Raises:
        ValueError: a negative length, or a budget below 1.
    """
    _check_length(length)
    if maximum < 1:
        raise ValueError(f"a response budget of {maximum} tokens is none; give 1 or more")
    share = min(length / maximum, 1.0)
    return eta_min + 0.5 * (eta_max - eta_min) * (1 + math.cos(math.pi * share))


def shaped_reward(
    score: float, *, length: int, budget: int, truncated: bool, config: ShapingConfig
) -> ShapedReward:
    """The reward to train on, in three steps, in this order.

    1. a truncated response's score is multiplied by ``truncated_factor``;
    2. if what is left still counts as correct, the weighted cosine length reward is added;
    3. the overlong penalty is added: of a score of 0 it makes less than 0.

    Args:
        score: what the verifier said, in [0, 1].
        length: tokens of the response.
        budget: tokens that it might have had.
        truncated: whether it was cut off at the budget, without an end of its own.
        config: which of the steps are on.

    Raises:
        ValueError: ``score`` is not finite, a negative length, or a buffer beyond the budget.
    """
    _check_finite("score", score)
    if truncated and config.truncated_factor is not None:
        score *= config.truncated_factor
    bonus = penalty = 0.0
    if config.cosine is not None and score >= config.cosine.correct_at:
        cosine = config.cosine
        bonus = cosine.weight * cosine_length_reward(length, budget, cosine.eta_min, cosine.eta_max)
    if config.overlong is not None:
        penalty = overlong_penalty(
            length, maximum=budget, buffer=config.overlong.buffer, factor=config.overlong.factor
        )
    return ShapedReward(reward=score + bonus + penalty, bonus=bonus, penalty=penalty)


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}: the reward function must return a finite number")


def _check_length(length: int) -> None:
    if length < 0:
        raise ValueError(f"a response cannot have {length} tokens")
