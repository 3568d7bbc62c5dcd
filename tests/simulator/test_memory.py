"""The memory of a GPU, by hand for two models; and which way each setting moves it."""

import dataclasses

import pytest

from copris_core.simulator.architecture import Architecture
from copris_core.simulator.memory import GIB, MemorySettings, memory_of

SMALL = Architecture(
    kind="qwen2",
    hidden=1536,
    layers=28,
    heads=12,
    kv_heads=2,
    head_dim=128,
    intermediate=8960,
    vocab=151936,
    positions=131072,
    tied=False,
)
LARGE = dataclasses.replace(
    SMALL, hidden=3584, heads=28, kv_heads=4, intermediate=18944, vocab=152064
)
ASKED = MemorySettings(
    gpu_bytes=80 * GIB,
    gpus=8,
    shards=8,
    engine_share=0.8,
    tensor_parallel=1,
    engine_sleeps=True,
    tokens=32768,
    response_cap=16384,
    in_flight=1024,
)


def _memory(model=SMALL, **changed):
    return memory_of(model, dataclasses.replace(ASKED, **changed))


def test_a_model_of_1_5_billion_parameters_on_eight_gpus():
    memory = _memory()
    # P = 1,777,088,000; 0.8 x 80 GiB = 68,719,476,736 B.
    assert memory.weights == 2 * 1_777_088_000
    assert memory.kv_pool == 68_719_476_736 - 3_554_176_000 - 4_000_000_000
    # 16384 x 28,672 B = 469,762,048 B a response: 130.2 in 61,165,300,736 B, 260.4 half way.
    assert (memory.fit(), memory.fit(0.5)) == (8 * 130, 8 * 260)
    assert (memory.master, memory.moments, memory.gradients) == (
        888_544_000,
        1_777_088_000,
        888_544_000,
    )
    # 4 B x (two layers of 46,797,824, two matrices of 151936 x 1536, the last norm).
    assert memory.gathered == 4 * (2 * 46_797_824 + 2 * 151936 * 1536 + 1536)
    # A token: 28 x 1536 layer inputs; 7 x 1536 + 2 x 1536 + 2 x 256 + 4 x 8960 inside a layer.
    assert memory.activations == 2 * 32768 * (43_008 + 50_176)
    assert memory.logits == 6 * 32768 * 151936
    # 2 GiB of CUDA, weights and moments.
    assert memory.waiting_trainer == 2 * GIB + 888_544_000 + 1_777_088_000
    assert memory.sampling == 68_719_476_736 + memory.waiting_trainer
    assert memory.update == (
        2 * GIB + 2 * GIB + 2 * 888_544_000 + 1_777_088_000
        + memory.gathered + memory.activations + memory.logits
    )  # fmt: skip


def test_a_model_of_7_billion_parameters_on_two_gpus_an_engine():
    memory = _memory(LARGE, tensor_parallel=2)
    # P = 7,615,616,512, half of the 15,231,233,024 B of weights on each; 2 of 4 KV heads.
    assert memory.weights == 7_615_616_512
    assert memory.kv_pool == 68_719_476_736 - 7_615_616_512 - 4_000_000_000
    assert memory.kv_token == 57_344 // 2
    # 57,103,860,224 / 469,762,048 = 121.6 a GPU of each of 4 engines.
    assert (memory.engines, memory.fit()) == (4, 4 * 121)
    # The trainer knows no tensor parallelism.
    assert memory.master == 4 * 7_615_616_512 // 8


def test_more_ranks_make_shards_smaller_and_more_memory_makes_room_for_more():
    assert _memory(gpus=16, shards=16).update < _memory().update
    assert _memory(gpus=16, shards=8).master == _memory().master
    assert _memory(gpu_bytes=141 * GIB).fit() > _memory().fit()
    assert _memory(engine_share=0.9).fit() > _memory().fit() > _memory(LARGE).fit()
    assert _memory(response_cap=8192).fit() == _memory().fit(0.5)
    assert _memory(tokens=65536).update > _memory().update


def test_offloading_frees_memory_for_the_engine_and_only_the_policy_for_the_update():
    stays, params = _memory(), _memory(param_offload=True)
    moments, both = _memory(optimizer_offload=True), _memory(offload_policy=True)
    assert stays.sampling - params.sampling == stays.master
    assert stays.sampling - moments.sampling == stays.moments
    assert stays.sampling - both.sampling == stays.master + stays.moments
    assert params.update == moments.update == stays.update
    assert stays.update - both.update == stays.master + stays.moments + stays.gradients


def test_an_engine_that_stays_awake_keeps_its_share_over_the_update():
    awake = _memory(engine_sleeps=False)
    assert awake.update - _memory().update == int(0.8 * 80 * GIB) - 2 * GIB


def test_checkpointing_and_fused_kernels_spare_activations_and_logits():
    assert _memory(checkpointing=False).activations == 2 * 32768 * 28 * 50_176
    assert _memory(whole_logits=False).logits == 0


@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_the_mends_that_are_offered_do_fit(model):
    memory = _memory(model, engine_share=0.95, tokens=131072)
    assert memory.sampling > 80 * GIB < memory.update
    share, tokens = memory.engine_share_that_fits(), memory.tokens_that_fit()
    assert _memory(model, engine_share=share).sampling <= 80 * GIB
    assert _memory(model, engine_share=share + 0.01).sampling > 80 * GIB
    assert _memory(model, tokens=tokens).update <= 80 * GIB
    assert _memory(model, tokens=tokens + 1).update > 80 * GIB


def test_weights_that_fill_the_engines_share_leave_no_kv_cache():
    memory = _memory(LARGE, gpu_bytes=16 * GIB)
    assert (memory.kv_pool, memory.fit()) == (0, 0)
