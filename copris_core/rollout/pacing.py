"""Bounded staleness without dropping: who must finish before the next version step.

With ``max_lag`` K, a group whose oldest token was sampled by version s must be trained by version
s + K: its deadline. B groups are trained per version, so all deadlines can be met exactly when

    for every j >= 0:  #(untrained groups with deadline <= v + j) <= (j + 1) B

at version v (the schedulability condition of unit jobs under earliest deadline first, B a slot). It
is kept by two rules: no group is started while (K + 1) B started ones are untrained, and a version
step waits until the condition holds for the groups that it leaves behind.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """The bound on staleness; ``max_lag=None`` waits for nobody."""

    max_lag: int | None
    """K, the most versions between the sampling of a token and its training."""
    groups_per_stage: int
    """B, groups trained per version."""

    def __post_init__(self) -> None:
        """Refuse a bound that cannot be kept.

        Raises:
            ValueError: ``max_lag`` is negative.
        """
        if self.max_lag is not None and self.max_lag < 0:
            raise ValueError(f"staleness.max_lag={self.max_lag} is negative: set it to 0 or more")

    def may_start_group(self, num_untrained: int) -> bool:
        """Whether one more group may start beside ``num_untrained`` started, untrained ones."""
        return self.max_lag is None or num_untrained < (self.max_lag + 1) * self.groups_per_stage

    def may_step(
        self, version: int, *, done: Sequence["Starts"], undone: Sequence["Starts"]
    ) -> bool:
        """Whether the update from ``version`` to the next may go ahead.

        Args:
            version: the policy version that samples now.
            done: the complete groups, of which the B oldest would be trained.
            undone: the started groups that are not complete.
        """
        if sum(map(len, done)) < self.groups_per_stage:
            return False
        if self.max_lag is None:
            return True
        complete = _joined(done)
        left = complete + _joined(undone)
        left.subtract(_oldest(complete, self.groups_per_stage))
        num_due = 0
        for start in sorted(left):
            num_due += left[start]
            slots = start + self.max_lag - version  # version steps before its deadline, j + 1
            if num_due > max(0, slots) * self.groups_per_stage:
                return False
        return True


class Starts:
    """A multiset of groups, each by the version of its oldest token."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = 0

    def __len__(self) -> int:
        """Groups in it."""
        return self._total

    def add(self, version: int) -> None:
        """One group more that started at ``version``."""
        self._counts[version] += 1
        self._total += 1

    def remove(self, version: int) -> None:
        """One group less that started at ``version``."""
        self._counts[version] -= 1
        self._total -= 1
        if not self._counts[version]:
            del self._counts[version]

    def move_to(self, other: "Starts", version: int) -> None:
        """One group that started at ``version`` counts there from now on."""
        self.remove(version)
        other.add(version)

    @property
    def counts(self) -> Counter[int]:
        """Groups by version; a copy."""
        return Counter(self._counts)


def _joined(parts: Iterable[Starts]) -> Counter[int]:
    return sum((part.counts for part in parts), Counter())


def _oldest(versions: Counter[int], count: int) -> Counter[int]:
    """The ``count`` smallest of a multiset of versions."""
    taken: Counter[int] = Counter()
    for version in sorted(versions):
        taken[version] = min(versions[version], count - taken.total())
    return taken
