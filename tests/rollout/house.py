"""A small house around the gate: agent loops without engines, for tests of whole stages."""

from dataclasses import dataclass, field
from random import Random

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.supply import Supply


@dataclass
class House:
    """Responses of random length run one token a tick; each remembers the version of each token."""

    limit: int
    groups_per_stage: int
    group_size: int
    supply: Supply | None = None
    max_lag: int | None = None
    seed: int = 0
    longest: int = 12
    version: int = 0
    ticks: int = 0
    versions: dict[ResponseKey, list[int]] = field(default_factory=dict)
    lengths: dict[ResponseKey, int] = field(default_factory=dict)
    num_drawn: int = 0
    admitted_in_stage: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.gate = AdmissionGate(
            limit=FixedLimit(limit=self.limit),
            groups_per_stage=self.groups_per_stage,
            group_size=self.group_size,
            supply=self.supply,
            max_lag=self.max_lag,
        )
        self.paused: list[ResponseKey] = []

    def stage(self) -> list[str]:
        """One whole stage; returns the groups that the update takes, and moves the version on."""
        self.gate.open(self.version)
        self.admitted_in_stage = 0
        for key in self.paused:
            self.gate.ask(key)
        self.paused = []
        while self.gate.state is Gate.OPEN:
            self.tick()
        for key in list(self.gate.running()):
            self.gate.settle(key, interrupted=True)
            self.paused.append(key)
        taken = self.gate.take(self.groups_per_stage)
        self.version += 1
        return taken

    def tick(self) -> None:
        """Draw, admit, one token for each that runs."""
        self._draw()
        self.admitted_in_stage += len(self.gate.admit())
        self.most_in_flight = max(self.most_in_flight, self.gate.in_flight)
        self.ticks += 1
        assert self.ticks < 100_000, "the stage does not end"
        for key in sorted(self.gate.running()):
            tokens = self.versions.setdefault(key, [])
            tokens.append(self.version)
            if len(tokens) == self._length(key):
                self.gate.settle(key, interrupted=False)
                self._complete(key.uid)

    def _draw(self) -> None:
        for _ in range(self.gate.prompts_wanted()):
            uid = f"p{self.num_drawn:04d}"
            self.num_drawn += 1
            self.gate.draw(uid, self.group_size)
            for index in range(self.group_size):
                self.gate.ask(ResponseKey(uid, index))

    def _complete(self, uid: str) -> None:
        keys = [ResponseKey(uid, index) for index in range(self.group_size)]
        if all(len(self.versions.get(key, [])) == self._length(key) for key in keys):
            self.gate.complete(uid, failed=False)

    def _length(self, key: ResponseKey) -> int:
        if key not in self.lengths:
            draw = Random(f"{self.seed} {key}").paretovariate(0.9)
            self.lengths[key] = min(self.longest, 1 + int(draw))
        return self.lengths[key]

    def oldest(self, uid: str) -> int:
        """Version of a group's oldest token."""
        return min(self.versions[ResponseKey(uid, i)][0] for i in range(self.group_size))
