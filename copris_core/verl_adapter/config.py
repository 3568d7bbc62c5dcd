"""The choices of a run as typed, validated values.

Every choice is checked here, in its ``__post_init__``, before anything heavy starts. This file
refuses to know Hydra: ``door.py`` reads the YAML and builds these.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from copris_core.losses.policy import Clip
from copris_core.pruning import PruningConfig, allocated_prompts, keep_count
from copris_core.verl_adapter.batch_plan import BatchPlan
from copris_core.verl_adapter.correction_config import CorrectionConfig
from copris_core.verl_adapter.errors import ConfigError, one_of
from copris_core.verl_adapter.own_method import OwnMethod
from copris_core.verl_adapter.prolonged_config import FilterChoice, ProlongedChoice, ShapingChoice
from copris_core.verl_adapter.strategy_config import StalenessConfig, StrategyConfig

__all__ = [
    "BatchPlan",
    "ClipChoice",
    "ConfigError",
    "CorrectionConfig",
    "PlatformChoice",
    "PolicyChoice",
    "ProlongedChoice",
    "PruningChoice",
    "RunConfig",
    "StalenessConfig",
    "StrategyConfig",
    "TaskChoice",
]

PRUNINGS: Final = ("none", "cppo")
PLATFORMS: Final = ("cpu", "gpu")
ADDRESS: Final = r"auto|[\w.-]+:\d+|\[[0-9A-Fa-f:]+\]:\d+"
"""Ray's own, without its client's: a run's driver is part of the cluster."""


@dataclass(frozen=True, kw_only=True)
class PruningChoice:
    """Which rows are trained on."""

    name: str
    """``none``: all. ``cppo``: those with the largest |advantage|."""
    rule: PruningConfig | None
    """How many are kept, and of what; None with ``none``."""

    def __post_init__(self) -> None:
        """Refuse an unknown name, a missing and a superfluous rule.

        Raises:
            ConfigError: see above.
        """
        one_of("pruning", self.name, PRUNINGS)
        if self.name == "none" and self.rule is not None:
            raise ConfigError(
                f"pruning.pruning_rate={self.rule.pruning_rate} does nothing with pruning=none: "
                "add pruning=cppo, or remove it"
            )
        if self.name == "cppo" and self.rule is None:
            raise ConfigError("pruning=cppo needs pruning.pruning_rate: the paper uses 0.5")

    def drawn_prompts(self, prompts: int) -> int:
        """Prompts to draw for a step of ``prompts``; more only with ``allocation``.

        Raises:
            ConfigError: the number is not whole.
        """
        if self.rule is None or not self.rule.allocation:
            return prompts
        try:
            return allocated_prompts(prompts, self.rule.pruning_rate)
        except ValueError as error:
            raise ConfigError(f"pruning.allocation: {error}") from error

    def trained_rows(self, drawn_prompts: int, group_size: int) -> int:
        """Rows of a step that are trained on, at most."""
        if self.rule is None:
            return drawn_prompts * group_size
        if self.rule.scope == "group":
            return drawn_prompts * keep_count(group_size, self.rule.pruning_rate)
        return keep_count(drawn_prompts * group_size, self.rule.pruning_rate)


@dataclass(frozen=True, kw_only=True)
class ClipChoice:
    """The trust region by name."""

    name: str
    """``symmetric``, ``dapo``, or a file of your own."""
    bounds: Clip
    """The numbers."""


@dataclass(frozen=True, kw_only=True)
class TaskChoice:
    """Where rows come from and how a response is judged."""

    name: str
    """Name in the registry of ``copris_core.tasks``."""
    options: Mapping[str, object]
    """Everything else the task's YAML says, by name."""


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """The model to train."""

    name: str
    """``tiny_days``: the packaged checkpoint. ``hf``: any. Others: a model of the hub."""
    path: Path
    """Folder with config.json, weights and tokenizer; the hub id while it is to be fetched."""
    hub_id: str | None = None
    """What is to be fetched from the hub; None: it is here."""
    architecture: Mapping[str, object] = field(default_factory=dict)
    """Fields of its config.json as the policy group has them; empty when it has none."""


@dataclass(frozen=True, kw_only=True)
class PlatformChoice:
    """What it runs on."""

    name: str
    """``cpu`` or ``gpu``."""
    devices: int
    """Trainer ranks of a node: logical slots on CPU, GPUs otherwise."""
    nodes: int = 1
    """Machines to train on."""
    ray_address: str | None = None
    """``auto`` or ``HOST:PORT`` of a Ray cluster to join; None: the run starts its own."""

    def __post_init__(self) -> None:
        """Refuse an unknown name, several nodes without a cluster, and what is no address.

        Raises:
            ConfigError: see above.
        """
        one_of("platform", self.name, PLATFORMS)
        if self.nodes < 1:
            raise ConfigError(f"platform.nodes={self.nodes}: set it to 1 or more")
        if self.ray_address is None and self.nodes > 1:
            raise ConfigError(
                f"platform.nodes={self.nodes} needs a Ray cluster: run `ray start` on each machine "
                "(docs/gpu.md), and add platform.ray_address=auto"
            )
        if self.ray_address is not None and not re.fullmatch(ADDRESS, self.ray_address):
            raise ConfigError(
                f"platform.ray_address={self.ray_address} is no address of a Ray cluster: use auto "
                "or HOST:PORT, as `ray start --head` prints it"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run chose."""

    experiment_name: str
    """Names the run folder and the row of the report."""
    seed: int
    """Seed of the data order, the sampler, the trainer and tie-breaking."""
    run_root: Path
    """Folder under which ``<experiment_name>/<time>`` is made."""
    run_dir: Path | None
    """An explicit run folder, instead of a made one."""
    record_trajectories: bool
    """Write every trained response, with log-probs and policy versions, to the run folder."""
    engine_log: bool
    """Write a line for every iteration of the inference engines to the run folder."""
    weight_sync_timeout_s: int
    """Seconds after which a weight sync counts as hanging."""
    strategy: StrategyConfig
    """How responses are sampled."""
    staleness: StalenessConfig
    """How old a token may become."""
    correction: CorrectionConfig
    """What the importance ratio is taken against."""
    pruning: PruningChoice
    """Which rows are trained on."""
    clip: ClipChoice
    """Trust region."""
    group_filter: FilterChoice | None
    """Which complete groups are not trained; None: all are."""
    shaping: ShapingChoice | None
    """What becomes of the verifier's score; None: it is the reward."""
    prolonged: ProlongedChoice
    """What changes while the run goes on."""
    method: OwnMethod | None
    """A class of the user's own; None without one."""
    task: TaskChoice
    """Rows and verifier."""
    policy: PolicyChoice
    """Model."""
    platform: PlatformChoice
    """Hardware."""
    plan: BatchPlan
    """Batch arithmetic; says how many steps there are."""

    def __post_init__(self) -> None:
        """Refuse an experiment name that is no folder name, and a negative seed.

        Raises:
            ConfigError: see above.
        """
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", self.experiment_name, re.ASCII):
            raise ConfigError(
                f"experiment_name={self.experiment_name!r} names a folder: use letters, digits, "
                "_, - and ."
            )
        if self.seed < 0:
            raise ConfigError(f"seed={self.seed} is negative: set it to 0 or more")
        if self.weight_sync_timeout_s < 1:
            raise ConfigError(
                f"run.weight_sync_timeout_s={self.weight_sync_timeout_s} ends every run at its "
                "first weight sync: set it to 1 or more"
            )
        if self.staleness.max_lag is not None and not self.strategy.is_partial:
            raise ConfigError(
                f"staleness.max_lag={self.staleness.max_lag} does nothing with "
                f"strategy={self.strategy.name}: add strategy=copris, or remove it"
            )
        if self.method is not None and self.method.chooses_rows and self.pruning.rule is not None:
            raise ConfigError(
                f"pruning={self.pruning.name} and {self.method.reference} would both choose the "
                "rows: set pruning=none, or remove on_batch_sampled"
            )
        if self.strategy.is_stock:
            self._refuse_methods()

    def _refuse_methods(self) -> None:
        chosen = {
            "correction": self.correction.name != "none",
            "pruning": self.pruning.rule is not None,
            "group_filter": self.group_filter is not None,
            "reward_shaping": self.shaping is not None,
            "kl_control": self.prolonged.kl is not None,
            "entropy_control": self.prolonged.entropy is not None,
            "length_schedule": self.prolonged.length is not None,
        }
        mend = " ".join(f"{group}=none" for group, is_chosen in chosen.items() if is_chosen)
        mend = f"{mend} method.cls=null".strip() if self.method is not None else mend
        if mend:
            raise ConfigError(
                f"strategy={self.strategy.name} is verl's own trainer and knows no method of ours: "
                f"add {mend}"
            )

    @property
    def total_steps(self) -> int:
        """Training steps of the run."""
        return self.plan.steps
