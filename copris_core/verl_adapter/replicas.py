"""Registers our replica under verl's name for vLLM, in the process that creates replicas."""

from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry


def _load() -> type[RolloutReplica]:
    from copris_core.verl_adapter.replica import GateReplica  # imports vLLM

    return GateReplica


RolloutReplicaRegistry.register("vllm", _load)
