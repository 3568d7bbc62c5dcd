"""Where a run trains: what ``copris check`` says of a cluster that it joins, and asks nobody for.

Only ``refuse_missing_devices`` looks at the machine, when a run starts.
"""

from collections.abc import Iterator

import torch
from omegaconf import DictConfig

from copris_core.verl_adapter.config import PlatformChoice, RunConfig
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reading import optional


def refuse_verls_address(cfg: DictConfig) -> None:
    """Refuse an address where only Ray would read it.

    Raises:
        ConfigError: ``ray_kwargs.ray_init.address`` is set.
    """
    address = optional(cfg, "ray_kwargs.ray_init.address", str)
    if address is not None:
        raise ConfigError(
            f"ray_kwargs.ray_init.address={address} is set by the run itself: use "
            f"platform.ray_address={address}"
        )


def refuse_missing_devices(platform: PlatformChoice) -> None:
    """Refuse a start that verl would break off after a minute; other machines are Ray's to count.

    Raises:
        ConfigError: the run is to start its own cluster of more GPUs than there are.
    """
    if platform.name != "gpu" or platform.ray_address is not None:
        return
    found = torch.cuda.device_count()
    if found < platform.devices:
        raise ConfigError(
            f"platform.devices={platform.devices} needs as many CUDA devices, and torch sees "
            f"{found} here: lower it, or set platform=cpu"
        )


def joining_notes(run: RunConfig) -> Iterator[str]:
    """What a run needs that joins a cluster."""
    if run.platform.ray_address is not None:
        yield (
            f"joins the Ray cluster at {run.platform.ray_address}: {run.run_dir or run.run_root} "
            f"and {run.policy.path} must lie on a file system that all its machines share"
        )
