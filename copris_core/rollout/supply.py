"""How a stage is supplied with work: what tells the rollout strategies apart.

Every strategy keeps its unfinished responses and resumes them first; they differ only in how many
prompts they draw and whether a slot that comes free is taken again.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from copris_core.rollout.concurrency import waiting_margin


class StageSoFar(NamedTuple):
    """What a supply draws by; a tuple, for one is made whenever a response ends."""

    limit: int
    """N', responses that may be in flight."""
    group_size: int
    """n, responses per prompt."""
    in_flight: int
    """Responses that run."""
    num_live: int
    """Drawn responses whose sampling is not done, the running ones included."""
    admitted: int
    """Responses admitted since the stage began or, if later, since nothing was in flight."""
    submitted_groups: int
    """Groups carried into the stage, complete or not, and those drawn since; less failed ones."""


class Supply(Protocol):
    """Decides how much work a stage is given."""

    def prompts_wanted(self, stage: StageSoFar) -> int:
        """Prompts to draw now; below 1 for none."""
        ...

    def may_admit(self, *, admitted: int, limit: int) -> bool:
        """Whether a free slot may be taken; asked before every admission.

        Args:
            admitted: as `StageSoFar` has it.
            limit: the same.
        """
        ...


class OnDemand:
    """CoPRIS (arXiv 2511.05589): a freed slot is taken at once, so N' stay in flight."""

    def prompts_wanted(self, stage: StageSoFar) -> int:
        """ceil((limit + margin - live responses) / group size)."""
        margin = waiting_margin(stage.limit, stage.group_size)
        return -(-(stage.limit + margin - stage.num_live) // stage.group_size)

    def may_admit(self, *, admitted: int, limit: int) -> bool:
        """Always."""
        return True


class BatchBound:
    """Naive partial rollout, the paper's baseline: N' are submitted, freed slots stay empty.

    Should all of them end before B groups are complete, another N' are submitted.
    """

    def prompts_wanted(self, stage: StageSoFar) -> int:
        """As many as fill the batch: ceil((limit - admitted - live but not running) / n)."""
        held = stage.admitted + stage.num_live - stage.in_flight
        return -(-(stage.limit - held) // stage.group_size)

    def may_admit(self, *, admitted: int, limit: int) -> bool:
        """Until N' have been submitted."""
        return admitted < limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversample:
    """APRIL (arXiv 2509.18521): more groups than needed at once, none after; the first B count."""

    groups: int
    """Groups submitted per stage, those carried over included; more than B."""

    def prompts_wanted(self, stage: StageSoFar) -> int:
        """What is missing to ``groups``."""
        return self.groups - stage.submitted_groups

    def may_admit(self, *, admitted: int, limit: int) -> bool:
        """Always: the limit is as large as the batch."""
        return True


def oversampled_groups(groups_per_stage: int, factor: float) -> int:
    """ceil(factor x B), the groups that ``Oversample`` submits.

    Raises:
        ValueError: the factor does not exceed 1.
    """
    if factor <= 1:
        raise ValueError(f"strategy.oversample_factor={factor} samples no more: set it above 1")
    return math.ceil(round(factor * groups_per_stage, 6))  # 1.1 x 10 is 11, not 12
