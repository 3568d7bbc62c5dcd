"""Which completions are worth training on (CPPO, arXiv 2503.22342).

A completion's gradient is scaled by its advantage, so the rows with the largest |A| are kept and
the rest never reach a forward pass. Advantages come from the *full* group and are not recomputed:
those that are kept no longer sum to zero.

Knows advantages, group numbers and row names; not queues, trainers or where the rows lie.

Shapes: B responses (rows). Counts are exact integers: rates are fractions, never binary floats.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

from torch import Tensor

Rate: TypeAlias = Fraction | str | float
"""A share in [0, 1): ``Fraction(7, 8)``, ``"7/8"``, ``"0.875"`` or ``0.875`` (read as written)."""

Scope: TypeAlias = Literal["group", "batch"]
ZeroVariance: TypeAlias = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class PruningConfig:
    """What is removed before training."""

    pruning_rate: Rate
    """P, the share of completions that is removed; in [0, 1), 0 removes none."""
    scope: Scope = "group"
    """``group``: the same number is kept of every prompt (the paper). ``batch``: the largest |A| of
    the whole batch are kept, whichever prompt they answer (the authors' code)."""
    zero_variance: ZeroVariance = "keep"
    """Whether a group whose advantages are all 0 may be kept: ``keep`` or ``drop``."""
    allocation: bool = False
    """Sample 1 / (1 - P) times as many prompts, so that as many rows are trained as without P."""

    def __post_init__(self) -> None:
        """Refuse what no batch could be pruned with.

        Raises:
            ValueError: a field is out of its range.
        """
        exact_rate(self.pruning_rate)
        for name, value, allowed in (
            ("scope", self.scope, get_args(Scope)),
            ("zero_variance", self.zero_variance, get_args(ZeroVariance)),
        ):
            if value not in allowed:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True)
class KeptRows:
    """The outcome of pruning one batch."""

    kept: tuple[int, ...]
    """Row indices to train on, ascending; never empty."""
    pruned: tuple[int, ...]
    """Row indices to forget, ascending; with ``kept`` every row of the batch exactly once."""
    num_groups: int
    """Groups in the batch."""
    num_zero_variance_groups: int
    """Groups whose advantages are all exactly 0."""

    @property
    def kept_fraction(self) -> float:
        """Share of the batch's rows that is trained."""
        return len(self.kept) / (len(self.kept) + len(self.pruned))


def exact_rate(pruning_rate: Rate) -> Fraction:
    """The rate as the fraction its decimal digits say: 0.9 is 9/10, not the nearest binary float.

    Raises:
        ValueError: not a number in [0, 1).
    """
    try:
        rate = Fraction(str(pruning_rate))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(
            f"pruning_rate={pruning_rate!r} is not a number: write 0.875 or '7/8'"
        ) from error
    if not 0 <= rate < 1:
        raise ValueError(f"pruning_rate={pruning_rate} must lie in [0, 1): it is the share removed")
    return rate


def keep_count(num_rows: int, pruning_rate: Rate) -> int:
    """``max(1, floor(num_rows * (1 - P)))``, exact for any P.

    At least one row stays, although floor gives 0 for few rows and a high rate (8 rows, P = 15/16):
    a prompt that is never trained on would be sampled for nothing.

    Raises:
        ValueError: ``num_rows`` < 1, or a rate outside [0, 1).
    """
    if num_rows < 1:
        raise ValueError(f"num_rows={num_rows} must be at least 1: there is nothing to prune")
    return max(1, math.floor(num_rows * (1 - exact_rate(pruning_rate))))


def allocated_prompts(train_prompts: int, pruning_rate: Rate) -> int:
    """Prompts to sample so that ``train_prompts`` prompts' worth of rows is left: n / (1 - P).

    Raises:
        ValueError: n / (1 - P) is not a whole number; the message names the nearest rates that fit.
    """
    if train_prompts < 1:
        raise ValueError(f"train_prompts={train_prompts} must be at least 1")
    exact = train_prompts / (1 - exact_rate(pruning_rate))
    if exact.denominator != 1:
        fitting = " or ".join(
            f"{1 - Fraction(train_prompts, prompts)} ({prompts} prompts)"
            for prompts in (math.floor(exact), math.ceil(exact))
        )
        raise ValueError(
            f"{train_prompts} prompts / (1 - {pruning_rate}) = {exact} is not a whole number of "
            f"prompts: set pruning_rate to {fitting}"
        )
    return exact.numerator


def kept_completions(
    adv_B: Tensor, group_B: Tensor, row_keys: Sequence[str], *, config: PruningConfig, seed: int
) -> KeptRows:
    """The rows with the largest |A| (CPPO, arXiv 2503.22342).

    Scope ``group`` keeps ``keep_count(G, P)`` rows of each group of G. Scope ``batch`` keeps
    ``keep_count(B, P)`` rows of all, the rule of the authors' code:
    ``k = int(B * (1 - P)); topk(|A|, k).indices.sort()``.

    Rows of equal |A| are ordered by a hash of (seed, row key), which depends neither on the order
    of the rows nor on the process: reordering the batch keeps the same rows, another seed breaks
    the same tie differently.

    Groups whose advantages are all exactly 0 (every sibling had the same reward) have no policy
    gradient. With ``zero_variance="keep"`` they are treated like any other: in scope ``group`` they
    keep their share of rows, which then carry the KL term only; in scope ``batch`` they rank last
    and fill up what is missing. With ``"drop"`` they are removed whole and nothing takes their
    place, so fewer rows may be kept. If *all* groups are such, ``"drop"`` does what ``"keep"``
    does, because an update needs a row; ``num_zero_variance_groups == num_groups`` tells of it.

    Args:
        adv_B: float [B], one advantage per response, from its full group.
        group_B: int [B], equal for the responses to one prompt.
        row_keys: B names, unique, the same for a response wherever it lies in the batch.
        config: rate, scope and what happens to zero-variance groups; ``allocation`` is not read.
        seed: of the tie order; change it every step, or ties always fall on the same side.

    Raises:
        ValueError: lengths differ, an empty batch, a repeated key, or an advantage not finite.
    """
    magnitudes = _checked_magnitudes(adv_B, group_B, row_keys)
    order_key = [
        (-magnitude, _tie_key(seed, key))
        for magnitude, key in zip(magnitudes, row_keys, strict=True)
    ]
    groups: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(group_B.tolist()):
        groups[group].append(row)
    zero = {group for group, rows in groups.items() if not any(magnitudes[row] for row in rows)}
    dropped = zero if config.zero_variance == "drop" and len(zero) < len(groups) else set()
    candidates = [rows for group, rows in groups.items() if group not in dropped]
    if config.scope == "group":
        quotas = [(keep_count(len(rows), config.pruning_rate), rows) for rows in candidates]
    else:
        quotas = [(keep_count(len(magnitudes), config.pruning_rate), _joined(candidates))]
    kept = sorted(_joined(sorted(rows, key=order_key.__getitem__)[:k] for k, rows in quotas))
    return KeptRows(
        kept=tuple(kept),
        pruned=tuple(sorted(set(range(len(magnitudes))).difference(kept))),
        num_groups=len(groups),
        num_zero_variance_groups=len(zero),
    )


def _checked_magnitudes(adv_B: Tensor, group_B: Tensor, row_keys: Sequence[str]) -> list[float]:
    if adv_B.ndim != 1 or not len(adv_B) == group_B.numel() == len(row_keys) > 0:
        raise ValueError(
            f"advantages {tuple(adv_B.shape)}, groups {tuple(group_B.shape)} and {len(row_keys)} "
            "row keys must be one per row each, of at least one row"
        )
    if len(set(row_keys)) != len(row_keys):
        raise ValueError("row_keys must be unique: a repeated key would tie with itself")
    magnitudes: list[float] = adv_B.abs().tolist()
    for row, magnitude in enumerate(magnitudes):
        if not math.isfinite(magnitude):
            raise ValueError(f"advantage of row {row} is {magnitude}: check that row's reward")
    return magnitudes


def _tie_key(seed: int, row_key: str) -> bytes:
    return hashlib.blake2b(f"{seed}/{row_key}".encode(), digest_size=8).digest()


def _joined(parts: Iterable[Iterable[int]]) -> list[int]:
    return [row for part in parts for row in part]
