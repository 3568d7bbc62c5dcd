"""The batch arithmetic of a run: prompts, samples, trained rows, mini-batches, optimizer updates.

Pure numbers. This file refuses to know Hydra and verl's key names.
"""

from dataclasses import dataclass

from copris_core.verl_adapter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """What one training step draws, samples and trains on, and how many steps there are."""

    prompts: int
    """B, prompts drawn for a training step; at least 1."""
    group_size: int
    """n, responses sampled per prompt; at least 1."""
    trained_rows: int
    """Responses that reach the update of a step; fewer when pruning drops zero-variance groups."""
    mini_batches: int
    """Optimizer updates in one pass over the trained rows."""
    epochs: int
    """Passes over the trained rows in a training step."""
    steps: int
    """Training steps of the run."""
    devices: int
    """Trainer ranks of all nodes; each takes an equal share of every mini-batch."""
    concurrency: int | None
    """N', responses in flight over all replicas; None: all samples of the step at once."""
    refills: bool = True
    """Whether a slot that comes free is taken again."""

    def __post_init__(self) -> None:
        """Refuse numbers that cannot be split evenly.

        Raises:
            ConfigError: a count is below 1, or a division leaves a rest.
        """
        self._refuse_counts_below_one()
        if self.trained_rows % self.mini_batches or self.rows_per_mini_batch % self.group_size:
            raise ConfigError(
                f"mini_batches={self.mini_batches} does not split {self.trained_rows} trained rows "
                f"into whole groups of {self.group_size}: {self._mend()}"
            )
        if self.rows_per_mini_batch % self.devices:
            raise ConfigError(
                f"{self.rows_per_mini_batch} rows per mini-batch cannot be shared by "
                f"{self.devices} ranks: change platform.devices, mini_batches or "
                "data.train_batch_size so that it divides"
            )

    def _refuse_counts_below_one(self) -> None:
        counts = {
            "mini_batches": self.mini_batches,
            "actor_rollout_ref.actor.ppo_epochs": self.epochs,
            "trainer.total_training_steps": self.steps,
            "platform.devices": self.devices,
        }
        for key, count in counts.items():
            if count < 1:
                raise ConfigError(f"{key}={count}: set it to 1 or more")

    def _mend(self) -> str:
        groups, rest = divmod(self.trained_rows, self.group_size)
        if rest:
            return (
                "choose data.train_batch_size and pruning.pruning_rate so that the trained rows "
                f"are a multiple of {self.group_size}"
            )
        divisors = [str(count) for count in range(1, groups + 1) if groups % count == 0]
        return f"set mini_batches to one of {', '.join(divisors)}"

    @property
    def samples(self) -> int:
        """Responses sampled per step, B n."""
        return self.prompts * self.group_size

    @property
    def rows_per_mini_batch(self) -> int:
        """Rows of one optimizer update, over all devices."""
        return self.trained_rows // self.mini_batches

    @property
    def groups_per_mini_batch(self) -> int:
        """The same in groups of n rows, which is how verl counts a mini-batch."""
        return self.rows_per_mini_batch // self.group_size

    def micro_batch(self, *, at_most: int) -> int:
        """Rows of one forward and backward pass on one device.

        verl refuses a rest, so this is the largest divisor of a device's share of a mini-batch that
        is not above what was asked for.

        Raises:
            ConfigError: ``at_most`` is below 1.
        """
        if at_most < 1:
            raise ConfigError(f"micro batch size {at_most}: set it to 1 or more")
        rows = self.rows_per_mini_batch // self.devices
        return max(size for size in range(1, min(at_most, rows) + 1) if rows % size == 0)

    @property
    def optimizer_updates_total(self) -> int:
        """Optimizer updates of the whole run."""
        return self.steps * self.epochs * self.mini_batches

    @property
    def in_flight(self) -> int:
        """Most responses in flight at a time, over all replicas."""
        return self.samples if self.concurrency is None else self.concurrency

    @property
    def interruptions_per_response(self) -> float:
        """How often a response is interrupted on average, N' / (B n); at most, without refill.

        Little's law: a step interrupts the responses in flight and consumes B n of them. In flight
        are N', or without refill what is left of them: N' - B n or fewer.
        """
        if self.concurrency is None:
            return 0.0
        in_flight = self.concurrency if self.refills else max(0, self.concurrency - self.samples)
        return in_flight / self.samples
