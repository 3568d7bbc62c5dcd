"""Where verl's loggers write (``trainer.logger``): into the run folder, beside metrics.jsonl.

verl's ``Tracking`` hands them every metric of a step, verl's own and ours, ours under the names of
metrics.jsonl. It finds their places in environment variables; a variable that the user has set
wins. Refuses to hold a key: W&B's stays where ``wandb login`` or the shell keeps it.
"""

import importlib.util
import netrc
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from omegaconf import DictConfig, OmegaConf

from copris_core.verl_adapter.errors import ConfigError

MODULES: Final = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "swanlab": "swanlab",
    "trackio": "trackio",
    "clearml": "clearml",
    "vemlp_wandb": "volcengine_ml_platform",
    "rl_insight": "rl_insight",
    "console": None,
    "file": None,
}
"""Each logger that verl knows, and the module it imports once everything has started."""

WANDB_ID_FILE: Final = "wandb_run_id"
"""Of the run folder: by it a resumed run goes on in the same W&B run."""
WANDB_PUBLIC: Final = ("WANDB_MODE", "WANDB_ENTITY", "WANDB_BASE_URL")
"""What of the shell's goes to processes on other machines. A key does not: Ray would write it to
its logs; there it takes a `wandb login`."""
WANDB_HOST: Final = "https://api.wandb.ai"


def loggers_of(cfg: DictConfig) -> list[str]:
    """The loggers that a run was asked for.

    Raises:
        ConfigError: one is no logger of verl's.
    """
    asked: Any = OmegaConf.select(cfg, "trainer.logger")
    names = [asked] if isinstance(asked, str) else list(asked or [])
    for name in names:
        if name not in MODULES:
            raise ConfigError(f"trainer.logger={name} is unknown: use {', '.join(MODULES)}, or []")
    return names


def refuse_loggers(cfg: DictConfig) -> None:
    """Refuse a logger that would fail once everything has started.

    Raises:
        ConfigError: it is unknown, its package is missing, or W&B knows no key.
    """
    for name in loggers_of(cfg):
        module = MODULES[name]
        if module is not None and importlib.util.find_spec(module) is None:
            package = module.replace("_", "-")
            raise ConfigError(
                f"trainer.logger={name} needs {package}, which is missing: pip install {package}"
            )
        if name == "wandb" and not _wandb_may_start(os.environ):
            raise ConfigError(
                "trainer.logger=wandb finds no W&B key: run `wandb login`, or set "
                "WANDB_MODE=offline and send the run later by `wandb sync`"
            )


def variables(cfg: DictConfig, folder: Path) -> dict[str, str]:
    """Environment variables by which the chosen loggers write into the run folder."""
    wanted: dict[str, str] = {}
    for name in loggers_of(cfg):
        wanted |= _places(name, folder)
    return {name: os.environ.get(name, value) for name, value in wanted.items()}


def logger_lines(cfg: DictConfig) -> list[str]:
    """What ``copris check`` says of them."""
    names = loggers_of(cfg)
    return [f"loggers        {', '.join(names)}, under the names of metrics.jsonl"] if names else []


def _places(name: str, folder: Path) -> dict[str, str]:
    if name == "wandb":
        run_id = _wandb_run_id(folder)
        told = {name: os.environ[name] for name in WANDB_PUBLIC if name in os.environ}
        return {"WANDB_DIR": str(folder), "WANDB_RUN_ID": run_id, "WANDB_RESUME": "allow", **told}
    places = {
        "tensorboard": {"TENSORBOARD_DIR": str(folder / "tensorboard")},
        "file": {"VERL_FILE_LOGGER_PATH": str(folder / "verl_metrics.jsonl")},
        "swanlab": {"SWANLAB_LOG_DIR": str(folder / "swanlog")},
        "mlflow": {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"},
    }
    return places.get(name, {})


def _wandb_run_id(folder: Path) -> str:
    """The same at every start of the run."""
    path = folder / WANDB_ID_FILE
    if not path.exists():
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text()


def _wandb_may_start(environment: Mapping[str, str]) -> bool:
    """Whether W&B needs no key, or finds one where ``wandb login`` or the shell left it."""
    if environment.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL", WANDB_HOST)).netloc
    place = environment.get("NETRC", "~/.netrc")
    try:
        return host in netrc.netrc(os.path.expanduser(place)).hosts
    except (OSError, netrc.NetrcParseError):
        return False
