"""What ``check`` says of a GPU's memory: where it goes, what does not fit, and the mend."""

import functools
import json

import pytest

pytestmark = pytest.mark.verl

ROLLOUT = "actor_rollout_ref.rollout"
FSDP = "actor_rollout_ref.actor.fsdp_config"
LONG = ("data.max_prompt_length=1024", "data.max_response_length=15360")
MANY = ("data.train_batch_size=64", "mini_batches=1")


@pytest.fixture(scope="module")
def composed():
    from copris_core.verl_adapter.door import compose

    return functools.cache(lambda *overrides: compose(overrides))


def _told(composed, *overrides):
    """What is said with some values in place; composing, which takes a second, is done once."""
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.door import derive, parse
    from copris_core.verl_adapter.memory_check import memory_lines
    from copris_core.verl_adapter.model_check import model_config

    groups = [each for each in overrides if each == "strategy=copris"]
    values = [each for each in overrides if each not in groups]
    cfg = composed("platform=gpu", "policy=r1_1p5b", *groups, *LONG, *MANY)
    cfg = OmegaConf.merge(cfg, OmegaConf.from_dotlist(values))
    run = parse(cfg)
    return memory_lines(run, derive(cfg, run), model_config(run.policy))


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_five_lines_say_where_the_memory_goes(composed):
    # The figures are derived in tests/simulator/test_memory.py.
    assert _told(composed, "strategy=copris", "strategy.concurrency=1024") == (
        [
            "memory         80.0 GiB a GPU, 8 GPUs; a model of 1.78 billion parameters "
            "(activations and logits are estimates)",
            "  sampling     68.5 GiB: engine 64.0 (weights 3.3, KV cache 57.0), trainer waits in "
            "4.5",
            "  KV cache     28 KiB a token: 0.44 GiB for a response at its cap of 16384 tokens, "
            "0.22 half way",
            "  fit          1040 responses at the cap, 2080 half way, in 8 engines; 1024 are in "
            "flight",
            "  update       42.9 GiB: weights 0.8, Adam 1.7, gradients 0.8, gathered 2.1; 32768 "
            "tokens: activations 5.7, logits 27.8",
        ],
        [],
    )


def test_more_than_fit_at_the_cap_are_not_noted_while_they_fit_half_way(composed):
    assert _told(composed, "strategy=copris", "strategy.concurrency=2080")[1] == []


def test_nothing_is_said_on_a_cpu_or_of_a_model_that_is_not_known(entered):
    from copris_core.verl_adapter.memory_check import memory_lines

    cfg, run = entered()
    assert memory_lines(run, cfg, {"model_type": "qwen2"}) == ([], [])
    cfg, run = entered("platform=gpu")
    assert memory_lines(run, cfg, {}) == ([], [])


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["platform.nodes=2", "platform.ray_address=auto"], "2080 responses at the cap"),
        (["platform.gpu_memory_gib=141"], "memory         141.0 GiB a GPU"),
        ([f"{ROLLOUT}.tensor_model_parallel_size=2"], "in 4 engines; 512 are in flight"),
        ([f"{FSDP}.optimizer_offload=true"], "trainer waits in 2.8"),
        ([f"{FSDP}.param_offload=true"], "trainer waits in 3.7"),
        ([f"{FSDP}.fsdp_size=4"], "weights 1.7, Adam 3.3, gradients 1.7"),
        ([f"{FSDP}.model_dtype=bf16"], "weights 0.4, Adam 0.8, gradients 0.4"),
        (["actor_rollout_ref.model.use_fused_kernels=true"], "logits 0.0"),
        (["actor_rollout_ref.actor.use_dynamic_bsz=false"], "262144 tokens"),
    ],
)
def test_every_setting_that_takes_memory_is_counted(composed, overrides, line):
    assert any(line in each for each in _told(composed, *overrides)[0])


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        (
            [f"{ROLLOUT}.gpu_memory_utilization=0.95"],
            f"sampling takes 80.5 GiB of a GPU of 80.0: lower {ROLLOUT}.gpu_memory_utilization to "
            f"0.94, or set {FSDP}.param_offload=true and optimizer_offload=true",
        ),
        (
            ["strategy=copris", "strategy.concurrency=2081"],
            "2081 in flight, and 2080 fit half way: the engine will preempt and prefill again: "
            "lower strategy.concurrency to 2080, or use more GPUs",
        ),
        (
            ["data.train_batch_size=512"],
            "4096 in flight, and 2080 fit half way: the engine will preempt and prefill again: "
            "strategy=copris strategy.concurrency=2080 bounds it, or use more GPUs",
        ),
        (
            [f"{ROLLOUT}.gpu_memory_utilization=0.09"],
            f"the KV cache holds no whole response: raise {ROLLOUT}.gpu_memory_utilization or "
            "tensor_model_parallel_size, or lower data.max_response_length",
        ),
        (
            ["actor_rollout_ref.actor.ppo_max_token_len_per_gpu=131072"],
            "the update takes 143.4 GiB of a GPU of 80.0: lower "
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu to 68608",
        ),
        (
            [f"{ROLLOUT}.free_cache_engine=false", f"{ROLLOUT}.gpu_memory_utilization=0.9"],
            f"the update takes 112.9 GiB of a GPU of 80.0: set {ROLLOUT}.free_cache_engine=true "
            "and enable_sleep_mode=true",
        ),
        (["actor_rollout_ref.model.lora_rank=8"], "adapters (lora_rank) are not counted"),
    ],
)
def test_what_does_not_fit_is_noted_with_its_mend(composed, overrides, note):
    (told,) = _told(composed, *overrides)[1]
    assert note in told


def test_a_model_of_another_kind_is_not_worked_out(composed, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    bare = ["policy.architecture=null", f"policy.path={tmp_path}"]
    lines, (note,) = _told(composed, *bare)
    assert lines == []
    assert note.endswith("model_type=mamba is none of llama, mistral, qwen2, qwen3")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("platform.gpu_memory_gib=0", "platform.gpu_memory_gib=0: set it above 0"),
        (
            f"{ROLLOUT}.gpu_memory_utilization=1.5",
            f"{ROLLOUT}.gpu_memory_utilization=1.5: set it above 0, at most 1",
        ),
        (
            f"{ROLLOUT}.tensor_model_parallel_size=3",
            f"{ROLLOUT}.tensor_model_parallel_size=3 does not divide 8 GPUs: set it to a divisor",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused(composed, override, line):
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError) as refusal:
        _told(composed, override)
    assert str(refusal.value) == line
