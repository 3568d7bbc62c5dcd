"""The rollout strategies on the virtual clock: each is a supply and a limit of the real gate.

| strategy       | supply       | N'                 | is carried over          |
|----------------|--------------|--------------------|--------------------------|
| sync           | B groups     | B n                | nothing                  |
| naive_partial  | N' submitted | given              | who is unfinished        |
| oversample     | N' / n groups| given, above B n   | who is unfinished        |
| copris         | on demand    | given              | who is unfinished        |
| copris_adaptive| on demand    | where it starts    | who is unfinished        |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from copris_core.rollout.adaptive import AdaptiveLimit
from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.supply import BatchBound, OnDemand, Oversample, Supply
from copris_core.simulator.engine import EngineModel
from copris_core.simulator.events import EventLog
from copris_core.simulator.simulation import Simulation, Workload

OBSERVE_EVERY_S: Final = 0.25
"""Virtual seconds between two looks at the engines, as the router's."""

SUPPLIES: Final[dict[str, Callable[[Workload, int], Supply]]] = {
    # The groups that are submitted are the groups that are trained: nobody is left over.
    "sync": lambda workload, limit: Oversample(groups=workload.groups_per_stage),
    "naive_partial": lambda workload, limit: BatchBound(),
    "oversample": lambda workload, limit: Oversample(groups=groups_in(limit, workload)),
    "copris": lambda workload, limit: OnDemand(),
    "copris_adaptive": lambda workload, limit: OnDemand(),
}
"""By strategy: the supply, given N'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Who runs and who waits in one simulated run."""

    name: str
    """One of `SUPPLIES`."""
    concurrency: int
    """N', responses in flight over all replicas."""
    max_lag: int | None = None
    """K, versions within which a started group must be trained; None: no bound."""
    staleness_cap: float | None = None
    """Most interruptions per response that an adaptive N' may cause; None: no bound."""

    def __post_init__(self) -> None:
        """Refuse an unknown name and an N' that admits nobody.

        Raises:
            ValueError: see above.
        """
        if self.name not in SUPPLIES:
            raise ValueError(f"strategy {self.name} is unknown: use one of {', '.join(SUPPLIES)}")
        if self.concurrency < 1:
            raise ValueError(f"concurrency={self.concurrency} samples nothing: use 1 or more")

    @property
    def is_adaptive(self) -> bool:
        """Whether N' is found by the run itself."""
        return self.name == "copris_adaptive"


def sync(workload: Workload) -> Strategy:
    """A batch of B groups is sampled to its end, then trained."""
    return Strategy(name="sync", concurrency=workload.samples_per_stage)


def simulation_of(
    strategy: Strategy,
    *,
    engine: EngineModel,
    workload: Workload,
    seed: int,
    events: EventLog | None = None,
) -> Simulation:
    """A fresh run of ``strategy``.

    Raises:
        ValueError: ``oversample`` that submits no more groups than are trained.
    """
    groups = groups_in(strategy.concurrency, workload)
    if strategy.name == "oversample" and groups <= workload.groups_per_stage:
        raise ValueError(
            f"oversample with {strategy.concurrency} in flight samples no more than the batch of "
            f"{workload.samples_per_stage}: use more"
        )
    adaptive = _adaptive(strategy, workload) if strategy.is_adaptive else None
    gate = AdmissionGate(
        limit=adaptive or FixedLimit(limit=strategy.concurrency),
        groups_per_stage=workload.groups_per_stage,
        group_size=workload.group_size,
        supply=SUPPLIES[strategy.name](workload, strategy.concurrency),
        max_lag=strategy.max_lag,
    )
    return Simulation(
        gate=gate,
        engine=engine,
        workload=workload,
        seed=seed,
        controller=adaptive,
        observe_every_s=OBSERVE_EVERY_S,
        events=events,
    )


def groups_in(concurrency: int, workload: Workload) -> int:
    """Groups that N' responses belong to, the last one perhaps in part."""
    return -(-concurrency // workload.group_size)


def _adaptive(strategy: Strategy, workload: Workload) -> AdaptiveLimit:
    return AdaptiveLimit(
        start=strategy.concurrency,
        samples_per_stage=workload.samples_per_stage,
        floor=workload.group_size,
        max_interruptions=strategy.staleness_cap,
    )
