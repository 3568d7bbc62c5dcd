"""Two raylets of this machine as a Ray cluster of two nodes; it ends when its stdin does.

    python -m tests.e2e.two_nodes FOLDER

Prints the cluster's address, then for each line that it reads the actors and placement groups that
live there, as JSON.
"""

import json
import sys

import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

CPUS = 16
"""Slots: verl reserves some beside each device."""


def main(folder: str) -> None:
    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=CPUS, num_gpus=1, temp_dir=folder, include_dashboard=False)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        print(json.dumps(living()), flush=True)
    ray.shutdown()
    cluster.shutdown()


def living() -> dict[str, list[str]]:
    actors = ray._private.state.actors().values()
    groups = placement_group_table().values()
    return {
        "nodes": [node["NodeID"] for node in ray.nodes() if node["Alive"]],
        "actors": [each["ActorClassName"] for each in actors if each["State"] != "DEAD"],
        "groups": [each["name"] for each in groups if each["state"] != "REMOVED"],
    }


if __name__ == "__main__":
    main(sys.argv[1])
