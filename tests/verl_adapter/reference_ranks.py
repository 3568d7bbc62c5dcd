"""One rank of a tiny training, without Ray: verl's own engines for actor and reference, over gloo.

    python -m tests.verl_adapter.reference_ranks FOLDER

What it saw goes to ``FOLDER/RANK_of_WORLD.json``, for ``test_reference_ranks.py``. All stories
share the processes: starting one takes as long as telling them all.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from verl.utils import tensordict_utils as tu
from verl.workers.config import (
    FSDPActorConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import ppo_loss

from copris_core.verl_adapter import late  # noqa: F401  registers the engine for the CPU
from copris_core.verl_adapter.reference import checksum, copy_policy, shard_of, shards_of
from copris_core.verl_adapter.worker import GateWorker, MeasuredTrainingWorker

TINY = Path(__file__).parents[2] / "copris_core" / "assets" / "tiny_days"
RESPONSE_LENGTHS = (5, 2, 4, 3)


# ---- verl's engines ----


def pair(*, ref_dtype: str = "fp32", gathered: bool = False, offload: bool = False) -> GateWorker:
    """A worker with an actor and a reference of its own, as verl builds them."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    worker = object.__new__(GateWorker)
    worker._rank, worker._world_size = rank, world_size
    engine = partial(_engine, gathered=gathered, offload=offload)
    actor = FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=1,
        ppo_mini_batch_size=4,
        ppo_micro_batch_size_per_gpu=2,
        use_kl_loss=True,
        kl_loss_coef=0.1,
        fsdp_config=engine("fp32"),
    )
    worker.actor = MeasuredTrainingWorker(_worker_config(actor.engine))
    worker.actor.reset()
    worker.actor.set_loss_fn(partial(ppo_loss, config=actor))
    worker.ref = TrainingWorker(_worker_config(engine(ref_dtype, forward_only=True)))
    worker.ref.reset()
    return worker


def _engine(
    dtype: str, *, forward_only: bool = False, gathered: bool, offload: bool
) -> FSDPEngineConfig:
    return FSDPEngineConfig(
        strategy="fsdp2",
        model_dtype=dtype,
        forward_only=forward_only,
        use_torch_compile=False,
        reshard_after_forward=not gathered,
        param_offload=offload,
        optimizer_offload=offload,
        use_dynamic_bsz=False,
        micro_batch_size_per_gpu=2,
        infer_micro_batch_size_per_gpu=2,
        mixed_precision={"param_dtype": dtype, "reduce_dtype": "fp32", "buffer_dtype": "fp32"},
    )


def _worker_config(engine: FSDPEngineConfig) -> TrainingWorkerConfig:
    model = HFModelConfig(
        path=str(TINY),
        use_remove_padding=False,
        enable_gradient_checkpointing=False,
        override_config={"attn_implementation": "sdpa"},
    )
    optimizer = FSDPOptimizerConfig(lr=1e-2, total_training_steps=10)
    return TrainingWorkerConfig(
        model_type="language_model",
        model_config=model,
        engine_config=engine,
        optimizer_config=None if engine.forward_only else optimizer,
        checkpoint_config=None,
    )


def rows(ref_logp: torch.Tensor | None = None) -> TensorDict:
    """This rank's part of a batch; with ``ref_logp`` one that can be trained on."""
    draw = torch.Generator().manual_seed(int(os.environ["RANK"]))
    jagged = partial(torch.nested.as_nested_tensor, layout=torch.jagged)
    prompts = [torch.randint(3, 384, (3,), generator=draw) for _ in RESPONSE_LENGTHS]
    answers = [torch.randint(3, 384, (length,), generator=draw) for length in RESPONSE_LENGTHS]
    whole = [torch.cat(both) for both in zip(prompts, answers, strict=True)]
    ones = [torch.ones(length) for length in RESPONSE_LENGTHS]
    fields = {
        "prompts": jagged(prompts),
        "responses": jagged(answers),
        "input_ids": jagged(whole),
        "position_ids": jagged([torch.arange(len(each)) for each in whole]),
        "loss_mask": jagged([each.long() for each in ones]),
        "response_mask": jagged([each.long() for each in ones]),
        "advantages": jagged(
            [sign * each for sign, each in zip((1, -1, 1, -1), ones, strict=True)]
        ),
    }
    if ref_logp is not None:
        logp = jagged(list(_responses(ref_logp)))
        fields |= {"old_log_probs": logp, "ref_log_prob": logp.clone()}
    data = TensorDict(fields, batch_size=[len(RESPONSE_LENGTHS)])
    tu.assign_non_tensor(data, temperature=1.0, compute_loss=ref_logp is not None)
    return data


def _responses(logp: torch.Tensor) -> Any:
    for row, length in zip(logp.unbind(), RESPONSE_LENGTHS, strict=True):
        yield row[-length - 1 : -1]


def logp_of(role: TrainingWorker) -> torch.Tensor:
    """Log-probs of every token of ``rows``."""
    return role.infer_batch(rows())["log_probs"]


def train(worker: GateWorker) -> dict[str, Any]:
    """One update; verl's metrics of it."""
    data = rows(logp_of(worker.ref))
    size = len(RESPONSE_LENGTHS) * int(os.environ["WORLD_SIZE"])
    tu.assign_non_tensor(
        data, mini_batch_size=size, global_batch_size=size, calculate_entropy=True, epochs=1
    )
    return tu.get(worker.actor.train_mini_batch(data), "metrics")


# ---- stories ----


def story_reset(folder: Path, **how: Any) -> dict[str, Any]:
    """Train, measure with the reference (which fills its caches), reset, measure again."""
    worker = pair(**how)
    apart = train(worker) and not _equal(worker)
    kept = checksum(shards_of(worker.actor.engine.module).values())
    cleared = worker.reset_reference(reset_optimizer=False)
    full = (module.engine.module.state_dict() for module in (worker.actor, worker.ref))
    whole = all(
        torch.equal(a.full_tensor().to(b.dtype), b.full_tensor())
        for a, b in zip(*(weights.values() for weights in full), strict=True)
    )
    return {
        "apart_before": apart,
        "same_logp": _equal(worker),
        "same_weights": whole,
        "same_checksum": worker.reference_checksum() == worker.weights_checksum(),
        "actor_kept": kept == worker.weights_checksum(),
        "cleared": cleared,
        "checksums": _checksums_around_a_forward_pass(worker),
        "moments": len(worker.actor.engine.optimizer.state),
        "apart_again": bool(train(worker)) and not _equal(worker),
    }


def _checksums_around_a_forward_pass(worker: GateWorker) -> list[int]:
    """Of the actor, as a checkpoint stores it; the first one is of shards alone."""
    plain = checksum(shard_of(weight) for weight in worker.actor.engine.module.parameters())
    before = worker.weights_checksum()
    logp_of(worker.actor)
    return [plain, before, worker.weights_checksum()]


def _equal(worker: GateWorker) -> bool:
    return torch.equal(logp_of(worker.actor).values(), logp_of(worker.ref).values())


def story_optimizer(folder: Path) -> dict[str, Any]:
    """The same step after a reset as with an optimizer that has never stepped."""
    worker = pair()
    engine = worker.actor.engine
    train(worker), train(worker)
    before = engine.optimizer.state_dict()["param_groups"]
    cleared = worker.reset_reference(reset_optimizer=True)
    start = {name: shard.clone() for name, shard in shards_of(engine.module).items()}
    num_left, lr = len(engine.optimizer.state), engine.lr_scheduler.get_last_lr()
    train(worker)
    stepped = {name: shard.clone() for name, shard in shards_of(engine.module).items()}

    other = pair()
    for role in (other.actor, other.ref):
        for name, shard in shards_of(role.engine.module).items():
            shard.copy_(start[name])
    train(other)
    fresh = shards_of(other.actor.engine.module)
    return {
        "cleared": cleared,
        "left": num_left,
        "like_fresh": all(torch.equal(stepped[name], fresh[name]) for name in fresh),
        "moved": any(not torch.equal(stepped[name], start[name]) for name in start),
        "groups_kept": before == engine.optimizer.state_dict()["param_groups"],
        "lr": lr,
        "manager_has_it": engine.checkpoint_manager.optimizer is engine.optimizer,
        "scheduler_has_it": engine.lr_scheduler.optimizer is engine.optimizer,
        "hooks": len(engine.optimizer._optimizer_step_post_hooks),
    }


def story_saved(folder: Path, **how: Any) -> dict[str, Any]:
    """Save, spoil, load; then what is not there."""
    worker = pair(**how)
    train(worker)
    worker.reset_reference(reset_optimizer=True)
    saved, logp = worker.reference_checksum(), logp_of(worker.ref).values()
    worker.save_reference(str(folder))
    # As a run resumes: before anything has been computed.
    resumed = pair(**how)
    base = resumed.reference_checksum()
    resumed.load_reference(str(folder))
    return {
        "was_base": base != saved,
        "same_checksum": resumed.reference_checksum() == saved,
        "same_logp": torch.equal(logp_of(resumed.ref).values(), logp),
        "no_folder": _refusal(resumed.load_reference, str(folder / "absent")),
    }


def story_coefficients(folder: Path) -> dict[str, Any]:
    """What verl itself says of the coefficient, update by update."""
    worker = pair()
    told = [train(worker)["kl_coef"]]
    in_force = worker.set_loss_coefficients(0.7, 0.01)
    told.append(train(worker)["kl_coef"])
    return {"told": told, "kl": in_force.kl, "entropy": in_force.entropy}


# ---- FSDP2 alone ----


class Odd(nn.Module):
    """Weights that no two ranks can halve, and buffers of both kinds."""

    def __init__(self, dtype: torch.dtype = torch.float32, width: int = 3) -> None:
        super().__init__()
        self.wide = nn.Linear(5, width, dtype=dtype)
        self.one = nn.Linear(width, 1, dtype=dtype)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.one(self.wide(x))


def odd(
    seed: int, *, offload: bool = False, mesh: tuple[int, ...] | None = None, **how: Any
) -> Odd:
    """One that is cut over all ranks, or over a mesh of (replicas, shards)."""
    torch.manual_seed(seed)
    made = Odd(**how)
    made.steps += seed
    made.scratch += seed
    ranks = mesh or (int(os.environ["WORLD_SIZE"]),)
    names = ("replicas", "shards")[-len(ranks) :]
    how_cut: dict[str, Any] = {
        "mesh": init_device_mesh("cpu", ranks, mesh_dim_names=names),
        "reshard_after_forward": False,
    }
    if offload:
        how_cut["offload_policy"] = CPUOffloadPolicy(pin_memory=False)
    fully_shard(made.wide, **how_cut)
    return fully_shard(made, **how_cut)


def story_odd(folder: Path, **how: Any) -> dict[str, Any]:
    """Uneven and empty shards, buffers, a reference that was just used."""
    actor, reference, x = odd(1), odd(2, **how), torch.ones(1, 5)
    with torch.no_grad():
        actor(x), reference(x)
        copy_policy(actor, reference)
        pairs = zip(shards_of(actor).values(), shards_of(reference).values(), strict=True)
        return {
            "same_output": torch.equal(actor(x), reference(x)),
            "same_shards": all(torch.equal(a, b) for a, b in pairs),
            "buffer": int(reference.steps),
            "scratch": reference.scratch.tolist(),
        }


def story_unlike(folder: Path) -> dict[str, Any]:
    """Refusals, and that they change nothing."""
    reference, actor = odd(2), odd(1)
    before = checksum(shards_of(reference).values())
    actor.extra = nn.Parameter(torch.zeros(1))
    names = _refusal(copy_policy, actor, reference)
    shapes = _refusal(copy_policy, odd(1, width=4), reference)
    # Every rank of one mesh holds all of it, every rank of the other a part.
    world = (1, int(os.environ["WORLD_SIZE"]))
    cut = _refusal(copy_policy, odd(1, mesh=world), odd(1, mesh=world[::-1]))
    return {
        "names": names,
        "shapes": shapes,
        "cut": cut,
        "plain": _refusal(copy_policy, Odd(), reference),
        "unchanged": before == checksum(shards_of(reference).values()),
    }


def _refusal(call: Callable[..., Any], *arguments: Any) -> str | None:
    try:
        call(*arguments)
    except ValueError as refusal:
        return str(refusal)
    return None


STORIES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "reset": partial(story_reset, gathered=True),
    "reset_offloaded": partial(story_reset, offload=True),
    "reset_rounded": partial(story_reset, ref_dtype="bf16"),
    "optimizer": story_optimizer,
    "saved": story_saved,
    "saved_rounded": partial(story_saved, ref_dtype="bf16"),
    "coefficients": story_coefficients,
    "odd": story_odd,
    "odd_offloaded": partial(story_odd, offload=True),
    "unlike": story_unlike,
}


def main(folder: Path) -> None:
    """Tell every story; those of a rank that fails are missing."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "cpu:gloo",
        init_method=f"file://{folder}/of_{world_size}",
        rank=rank,
        world_size=world_size,
    )
    told = {}
    for name, story in STORIES.items():
        place = folder / f"{name}_of_{world_size}"
        told[name] = story(place)
        torch.distributed.barrier()
    (folder / f"{rank}_of_{world_size}.json").write_text(json.dumps(told))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
