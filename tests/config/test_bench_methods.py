"""What the bench compares is what ``copris train`` takes, and differs by its method alone."""

import pytest

from copris_core.verl_adapter.bench_methods import (
    CAN_BE_PRUNED,
    EVERY_RUN,
    METHODS,
    PRUNED,
    TAKES_CONCURRENCY,
    WORKLOADS,
    batch_overrides,
    method_overrides,
)

NAMES = (*METHODS, *(name + PRUNED for name in CAN_BE_PRUNED))
# A workload sets the task and a method the rest, so a row and a column of the table tell all; the
# whole of it would be 56 compositions of a second each.
CELLS = [
    *((name, "longtail") for name in NAMES),
    *((name, workload) for name in ("sync", "copris_adaptive+cppo") for workload in WORKLOADS),
]


ON_GPUS = {"longtail-8k": ("platform=gpu", "platform.devices=1", "policy=r1_1p5b")}
"""The packaged model has room for 4096 tokens."""


@pytest.mark.verl
@pytest.mark.parametrize(("method", "workload"), CELLS)
def test_every_cell_is_a_run_that_passes_the_check(entered, method, workload):
    from copris_core.verl_adapter.check import check

    cfg, run = entered(
        *WORKLOADS[workload],
        *method_overrides(method),
        *batch_overrides(4, 8),
        *EVERY_RUN,
        *ON_GPUS.get(workload, ()),
    )
    assert check(run, cfg)
    assert (run.plan.prompts, run.plan.group_size, run.engine_log) == (4, 8, True)
    assert run.pruning.name == ("cppo" if PRUNED in method else "none")
    assert cfg.actor_rollout_ref.actor.optim.lr == 0
    assert cfg.trainer.test_freq == -1


@pytest.mark.verl
@pytest.mark.parametrize("workload", ["longtail", "longtail-heavy", "uniform"])
def test_forced_lengths_fit_the_row_the_group_and_the_engine(entered, workload):
    from copris_core.tasks import get_task

    cfg, run = entered(*WORKLOADS[workload], *method_overrides("sync"), *batch_overrides(4, 5))
    lengths = get_task(run.task.name, **run.task.options).train_rows()[0].facts["response_lengths"]
    assert len(lengths.split()) == 5
    assert cfg.data.max_response_length == run.task.options["cap"]
    assert cfg.actor_rollout_ref.rollout.agent.default_agent_loop == "forced_length"


@pytest.mark.verl
@pytest.mark.parametrize(
    ("method", "buffer"),
    [
        ("sync_released", None),
        ("colocate_async_released", None),
        ("sync", "PromptPollReplayBuffer"),
        ("colocate_async", "PromptPollReplayBufferAsync"),
    ],
)
def test_what_was_released_differs_from_the_tuned_by_its_buffer_alone(entered, method, buffer):
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.overrides import leaves

    cfg, _ = entered(*WORKLOADS["longtail"], *method_overrides(method))
    released, _ = entered(
        *WORKLOADS["longtail"], *method_overrides(method.removesuffix("_released") + "_released")
    )
    assert cfg.trainer.v1.sampler.custom_sampler.name == buffer
    one, other = (
        {key: OmegaConf.select(each, key) for key in leaves(each)} for each in (cfg, released)
    )
    assert {key for key in one | other if one.get(key) != other.get(key)} == (
        {f"trainer.v1.sampler.custom_sampler.{key}" for key in ("name", "path")}
        if buffer
        else set()
    )


def test_an_n_of_its_own_goes_before_that_of_the_bench():
    assert "strategy.concurrency=48" in method_overrides("copris@48+cppo", concurrency=16)
    assert "strategy.concurrency=16" in method_overrides("copris+cppo", concurrency=16)
    for name in METHODS:
        takes = any("concurrency" in each for each in method_overrides(name, concurrency=16))
        assert takes == (name in TAKES_CONCURRENCY)


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("grpo", "unknown method grpo: use one of sync_released, sync, "),
        ("sync+cppo", r"sync is verl's own trainer, use sync_tuned\+cppo"),
        ("colocate_async_released+cppo", "is verl's own trainer"),
        ("sync@8", "write an N' after naive_partial or copris or copris_adaptive alone"),
        ("oversample@8", "write an N' after"),
        ("copris@many", "write an N' after"),
        ("copris@-8", "write an N' after"),
        ("copris+cppo@8", r"unknown method copris\+cppo"),
    ],
)
def test_a_method_that_is_none_is_refused(method, line):
    with pytest.raises(ValueError, match=line):
        method_overrides(method)
