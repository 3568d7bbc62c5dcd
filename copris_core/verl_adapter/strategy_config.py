"""The choices about sampling, typed: who runs, who waits, and how old a token may become."""

from dataclasses import dataclass
from typing import Final

from copris_core.rollout.supply import oversampled_groups
from copris_core.verl_adapter.errors import ConfigError, one_of

PARTIAL: Final = ("copris", "naive_partial", "oversample")
STOCK: Final = ("verl_sync", "verl_colocate_async")
STRATEGIES: Final = ("sync", *PARTIAL, *STOCK)
LIMITS: Final = ("fixed", "adaptive")
KV_ON_RESUME: Final = ("recompute", "keep")
WHEN_TOO_OLD: Final = ("wait", "drop")


@dataclass(frozen=True, kw_only=True)
class StrategyConfig:
    """Who runs, who waits: how the responses of a step are sampled."""

    name: str
    """``sync``: all of a batch, to the end. ``copris``: N' at a time, unfinished ones go on.
    ``naive_partial``: N' submitted, no refill. ``oversample``: more groups at once, first B win.
    ``verl_sync``, ``verl_colocate_async``: verl's own trainers, only looked at."""
    concurrency: int | None
    """N', responses in flight over all replicas; None with ``sync`` and ``oversample``."""
    oversample_factor: float | None = None
    """Groups submitted per group trained, above 1; only with ``oversample``."""
    limit: str | None = None
    """``fixed``: N' stays. ``adaptive``: N' is where it starts. Only with ``copris``."""
    staleness_cap: float | None = None
    """Most interruptions per response, N' / (B n), that an adaptive limit may cause."""
    resume_kv: str | None = None
    """``recompute``: prefill again under the new weights. ``keep``: go on with the old KV cache."""
    park: bool | None = None
    """Unfinished responses stay in their engine over an update; else they are aborted and sent
    again."""

    def __post_init__(self) -> None:
        """Refuse what is missing, superfluous or out of range.

        Raises:
            ConfigError: see above.
        """
        one_of("strategy", self.name, STRATEGIES)
        self._refuse_superfluous()
        if self.name in ("copris", "naive_partial") and self.concurrency is None:
            raise ConfigError(
                f"strategy={self.name} needs strategy.concurrency: set it to 1 or more"
            )
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigError(
                f"strategy.concurrency={self.concurrency} samples nothing: set it to 1 or more"
            )
        if self.name == "oversample":
            self._refuse_factor()
        if self.limit is not None:
            one_of("strategy.limit", self.limit, LIMITS)
        if self.resume_kv is not None:
            one_of("strategy.resume_kv", self.resume_kv, KV_ON_RESUME)
        if self.is_adaptive and (self.staleness_cap is None or self.staleness_cap <= 0):
            raise ConfigError(
                f"strategy.staleness_cap={self.staleness_cap} bounds nothing: set it above 0"
            )

    def _refuse_superfluous(self) -> None:
        """A key that does nothing is a misunderstanding."""
        needs = {
            "concurrency": ("copris", "naive_partial"),
            "oversample_factor": ("oversample",),
            "limit": ("copris",),
            "staleness_cap": ("copris",),
            "resume_kv": PARTIAL,
            "park": PARTIAL,
        }
        for key, strategies in needs.items():
            value = getattr(self, key)
            if value is not None and self.name not in strategies:
                raise ConfigError(
                    f"strategy.{key}={value} does nothing with strategy={self.name}: "
                    f"add strategy={strategies[0]}, or remove it"
                )

    def _refuse_factor(self) -> None:
        if self.oversample_factor is None:
            raise ConfigError("strategy=oversample needs strategy.oversample_factor: APRIL uses 2")
        try:
            oversampled_groups(1, self.oversample_factor)
        except ValueError as error:
            raise ConfigError(str(error)) from error

    @property
    def is_partial(self) -> bool:
        """Whether unfinished responses pass our gate and go on after the update."""
        return self.name in PARTIAL

    @property
    def is_stock(self) -> bool:
        """Whether verl's own trainer runs, which knows none of our methods."""
        return self.name in STOCK

    @property
    def is_adaptive(self) -> bool:
        """Whether N' is found by the run itself."""
        return self.limit == "adaptive"

    def in_flight(self, prompts: int, group_size: int) -> int | None:
        """N' for B prompts of n responses, where it starts if adaptive; None with ``sync``."""
        if self.oversample_factor is not None:
            return oversampled_groups(prompts, self.oversample_factor) * group_size
        return self.concurrency

    def most_in_flight(self, prompts: int, group_size: int) -> int | None:
        """The largest N' that may come; None with ``sync``."""
        start = self.in_flight(prompts, group_size)
        if start is None or self.staleness_cap is None or not self.is_adaptive:
            return start
        return int(self.staleness_cap * prompts * group_size)


@dataclass(frozen=True, kw_only=True)
class StalenessConfig:
    """How many policy versions a token may be older than the update it is trained in."""

    max_lag: int | None
    """K; None: no bound."""
    when_exceeded: str
    """``wait``: the update waits for whoever would be late. ``drop``: late groups are given up."""

    def __post_init__(self) -> None:
        """Refuse an unknown name and a negative bound.

        Raises:
            ConfigError: see above.
        """
        one_of("staleness.when_exceeded", self.when_exceeded, WHEN_TOO_OLD)
        if self.max_lag is not None and self.max_lag < 0:
            raise ConfigError(f"staleness.max_lag={self.max_lag} is negative: set it to 0 or more")
