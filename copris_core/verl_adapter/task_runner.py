"""verl's task runner, with our trainer modes registered in its process."""

from typing import Any

import ray
from omegaconf import DictConfig
from verl.trainer.main_ppo import TaskRunnerV1

# A Ray actor class; the plain class behind it is what can be subclassed.
_StockRunner = TaskRunnerV1.__ray_metadata__.modified_class


class _RecipeRunner(_StockRunner):
    """Runs verl's loop with the trainer mode that the config names."""

    def run(self, config: DictConfig) -> Any:
        """Train to the end."""
        from copris_core.verl_adapter import (  # noqa: F401  register themselves
            gate_trainer,
            replicas,
            stock_trainer,
            trainer,
        )

        return super().run(config)


RecipeTaskRunner = ray.remote(_RecipeRunner)
"""The same as a Ray actor class. The plain class keeps its name, so that Ray sends it by name."""
