"""What a run asks of a cluster before it joins; the cluster itself is met in tests/e2e."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.verl


def _node(name: str, *, devices: float, cpus: float = 64.0):
    from copris_core.verl_adapter.ray_nodes import Node

    return Node(name=name, id=name, devices=devices, cpus=cpus)


def _look(*, nodes: int, devices: int):
    from copris_core.verl_adapter.ray_nodes import Look

    return Look(address="auto", nodes=nodes, devices=devices, paths=[])


def test_a_cluster_bears_a_run_only_if_enough_machines_have_all_its_slots():
    from copris_core.verl_adapter.ray_nodes import shortage

    eights = [_node("a", devices=8), _node("b", devices=8)]
    assert shortage(eights, _look(nodes=2, devices=8)) is None
    assert shortage([*eights, _node("c", devices=0)], _look(nodes=2, devices=8)) is None
    # 16 devices in all, but no two machines with 8.
    uneven = [_node("a", devices=12), _node("b", devices=4)]
    assert "needs" not in (told := shortage(uneven, _look(nodes=2, devices=8)) or "")
    assert "need 2 x 8 GPU and 24 CPU slots free" in told
    assert "a 12 and 64, b 4 and 64" in told


def test_verl_reserves_cpus_beside_the_devices():
    from copris_core.verl_adapter.ray_nodes import shortage

    assert shortage([_node("a", devices=8, cpus=24)], _look(nodes=1, devices=8)) is None
    assert shortage([_node("a", devices=8, cpus=23)], _look(nodes=1, devices=8)) is not None


def test_a_machine_with_another_version_is_named():
    from copris_core.verl_adapter.ray_nodes import disagreement

    here = {"torch": "2.11.0", "verl": "0.9.1"}
    assert disagreement(here, dict(here)) is None
    assert (
        disagreement(here, {**here, "torch": "2.10.0"}) == "has torch 2.10.0, this machine 2.11.0"
    )
    assert disagreement(here, {"torch": "2.11.0"}) == "has verl None, this machine 0.9.1"


def test_a_silent_address_is_told_in_one_line_at_once(tmp_path: Path):
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.ray_address import look

    with pytest.raises(ConfigError, match=r"no Ray cluster answers at platform\.ray_address=127"):
        look("127.0.0.1:1", nodes=1, devices=1, folder=tmp_path, policy=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_sweep_of_a_cluster_that_is_gone_knows_nothing_and_raises_nothing():
    from copris_core.verl_adapter.ray_address import sweep

    assert sweep("127.0.0.1:1", "nobody", since_s=0.0) is False


def test_the_warden_does_not_load_ray():
    script = "import sys, copris_core.verl_adapter.warden; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("address", [None, "10.0.0.1:6379"])
def test_a_run_starts_its_own_cluster_unless_it_joins_one(tmp_path: Path, address):
    from copris_core.verl_adapter.cluster import Sigterm, _cluster
    from copris_core.verl_adapter.processes import MARK

    made = _cluster(tmp_path, tmp_path / "ray", "m", address=address, sigterm=Sigterm())

    if address is None:
        # RAY_ADDRESS in the shell must not make it a guest.
        assert made.ray_init == {"address": "local", "_temp_dir": str(tmp_path / "ray")}
        assert made.variables == {}
    else:
        # Ray refuses numbers of slots from a guest.
        assert made.ray_init == {"address": address, "num_cpus": None, "num_gpus": None}
        assert made.variables[MARK] == "m"
