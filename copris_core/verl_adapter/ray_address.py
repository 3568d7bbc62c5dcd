"""A Ray cluster that a run joins (platform.ray_address): does it bear the run, is it clean later.

Ray itself is asked in a process of its own, see ``ray_nodes.py``. The warden imports this file, so
it stays light.
"""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Final

from copris_core.verl_adapter.errors import ConfigError

RAY_NODES: Final = "copris_core.verl_adapter.ray_nodes"
LOOK_S: Final = 120.0
"""Seconds in which a cluster must answer; a machine's first worker starts from a cold disk."""

SWEEP_S: Final = 40.0
"""Seconds for the end of what was left, less than a driver has for all of its cleaning up."""

SWEEP_GRACE_S: Final = 5.0
"""As for orphans on the driver's own machine (``warden.ORPHANS_S``)."""

TOKEN: Final = ".seen-by-every-machine-"


def look(address: str, *, nodes: int, devices: int, folder: Path, policy: Path) -> str:
    """The ``HOST:PORT`` of the cluster, once it is known that the run fits onto it.

    Every machine must have the same packages.

    Args:
        address: ``auto`` or ``HOST:PORT``.
        nodes: machines to train on.
        devices: devices of each.
        folder: the run folder, which every machine must see.
        policy: the policy's folder, likewise.

    Raises:
        ConfigError: it does not answer, is in use, is too small, or a machine lacks something.
    """
    token = folder / f"{TOKEN}{uuid.uuid4().hex}"
    token.touch()
    paths = [str(token), str(policy)]
    asked = {"address": address, "nodes": nodes, "devices": devices, "paths": paths}
    try:
        done = _ask("look", asked, timeout_s=LOOK_S)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"the Ray cluster at platform.ray_address={address} did not answer in {LOOK_S:.0f} s: "
            "look at `ray status` there"
        ) from error
    finally:
        token.unlink()
    lines = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    if done.returncode:
        told = lines[-1] if lines else f"exit code {done.returncode}"
        raise ConfigError(told.replace(str(token), str(folder)))
    return str(json.loads(lines[-1]))


def sweep(address: str, mark: str, *, since_s: float) -> bool:
    """End what processes with ``mark`` are left on any machine; whether it is known that none is.

    Args:
        address: ``HOST:PORT`` of the cluster.
        mark: of the run.
        since_s: Unix time at which it began.
    """
    asked = {"address": address, "mark": mark, "since_s": since_s, "grace_s": SWEEP_GRACE_S}
    try:
        done = _ask("sweep", asked, timeout_s=SWEEP_S)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode:
        return False  # the cluster is gone, and the processes that it started with it
    left: dict[str, int] = json.loads(done.stdout.strip().splitlines()[-1])
    return not any(left.values())


def _ask(command: str, asked: dict[str, Any], *, timeout_s: float) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", RAY_NODES, command, json.dumps(asked)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
