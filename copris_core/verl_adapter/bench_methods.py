"""What the bench compares: methods, workloads and batches as overrides of ``copris train``."""

from typing import Final

_BUFFER: Final = "trainer.v1.sampler.custom_sampler"


def _poll(name: str) -> tuple[str, ...]:
    """A buffer that polls every 20 ms; verl's own polls every 2 s (replay_buffer.py:128)."""
    return (
        f"{_BUFFER}.path=pkg://copris_core.verl_adapter.replay_buffer",
        f"{_BUFFER}.name={name}",
    )


_SYNC: Final = ("strategy=verl_sync", "correction=none")
_ASYNC: Final = ("strategy=verl_colocate_async", "correction=none")

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "sync_released": _SYNC,
    "sync": (*_SYNC, *_poll("PromptPollReplayBuffer")),
    "colocate_async_released": _ASYNC,
    "colocate_async": (*_ASYNC, *_poll("PromptPollReplayBufferAsync")),
    "sync_tuned": ("strategy=sync",),
    "naive_partial": ("strategy=naive_partial",),
    "oversample": ("strategy=oversample",),
    "copris": ("strategy=copris",),
    "copris_adaptive": ("strategy=copris", "strategy.limit=adaptive"),
}
"""Method -> overrides. ``*_released``: verl as released; ``sync`` and ``colocate_async``: the same
with a prompt poll; ``sync_tuned``: the synchronous loop with everything of ours but the method."""

TAKES_CONCURRENCY: Final = ("naive_partial", "copris", "copris_adaptive")
"""Methods with an N' of their own; oversample's follows from its factor."""

PRUNED: Final = "+cppo"
"""Suffix of a method that is pruned by CPPO as well."""

CAN_BE_PRUNED: Final = ("sync_tuned", "naive_partial", "oversample", "copris", "copris_adaptive")
"""verl's own trainers know no pruning."""

WORKLOADS: Final[dict[str, tuple[str, ...]]] = {
    "days": ("task=days",),
    "longtail": ("task=forced", "task.median=60", "task.sigma=1.0", "task.cap=1024"),
    "longtail-heavy": ("task=forced", "task.median=60", "task.sigma=1.4", "task.cap=2048"),
    # For GPUs: reasoning's lengths, with a tail that reaches the cap.
    "longtail-8k": ("task=forced", "task.median=1200", "task.sigma=1.0", "task.cap=8192"),
    "uniform": ("task=forced", "task.median=100", "task.sigma=0", "task.cap=128"),
}
"""Workload -> overrides. All but ``days`` force the lengths that come with the rows."""

EVERY_RUN: Final = (
    "actor_rollout_ref.actor.optim.lr=0",  # so that a method can't change the workload
    "trainer.val_before_train=false",
    "trainer.test_freq=-1",
    "run.engine_log=true",
)
"""Learning is not judged here."""


def method_overrides(method: str, *, concurrency: int | None = None) -> tuple[str, ...]:
    """Overrides of a method's name, its suffixes included.

    Args:
        method: ``NAME``, ``NAME@N'``, each with or without ``+cppo``.
        concurrency: N' of methods that take one and do not name it; None keeps their own.

    Raises:
        ValueError: no such method, or a suffix that it does not take.
    """
    plain = method.removesuffix(PRUNED)
    name, _, limit = plain.partition("@")
    if name not in METHODS:
        raise ValueError(f"unknown method {name}: use one of {', '.join(METHODS)}")
    if method != plain and name not in CAN_BE_PRUNED:
        raise ValueError(f"{method}: {name} is verl's own trainer, use sync_tuned{PRUNED}")
    if limit and (name not in TAKES_CONCURRENCY or not limit.isdecimal()):
        raise ValueError(f"{method}: write an N' after {' or '.join(TAKES_CONCURRENCY)} alone")
    number = limit or concurrency
    takes = number and name in TAKES_CONCURRENCY
    return (
        *METHODS[name],
        *((f"strategy.concurrency={number}",) if takes else ()),
        *(("pruning=cppo",) if method != plain else ()),
    )


def batch_overrides(prompts: int, group_size: int) -> tuple[str, ...]:
    """B prompts of n responses."""
    return (f"data.train_batch_size={prompts}", f"actor_rollout_ref.rollout.n={group_size}")
