"""The H100 presets are a roofline: their numbers equal the data sheet's arithmetic."""

import pytest

from copris_core.simulator.presets import (
    H100_1_5B,
    H100_7B,
    H100_14B,
    PRESETS,
    QWEN_1_5B,
    QWEN_7B,
    QWEN_14B,
)


def test_a_token_of_qwen_takes_what_its_config_says() -> None:
    # layers x KV heads x head_dim x (key, value) x 2 bytes
    assert QWEN_1_5B.kv_bytes == 28 * 2 * 128 * 2 * 2 == 28_672
    assert QWEN_7B.kv_bytes == 28 * 4 * 128 * 2 * 2 == 57_344
    assert QWEN_14B.kv_bytes == 48 * 8 * 128 * 2 * 2 == 196_608


def test_a_step_reads_the_weights_and_the_cache() -> None:
    engine = H100_7B.engine
    bytes_per_s = 0.7 * 3.35e12
    assert engine.step_s == pytest.approx(2 * 7.62e9 / bytes_per_s + 0.004)
    assert engine.context_token_s == pytest.approx(57_344 / bytes_per_s)
    # 64 responses of 8,000 tokens: 29.4 GB of cache, 12.5 ms beside the 10.5 ms
    assert engine.decode_step_s(64, kv_tokens=64 * 8000) == pytest.approx(0.0230, rel=0.01)


def test_beyond_the_knee_computing_takes_longer_than_reading() -> None:
    engine = H100_7B.engine
    token_s = 2 * 7.62e9 / (0.5 * 989e12)
    read_s = engine.step_s - 0.004
    assert engine.prefill_token_s == engine.response_s == pytest.approx(token_s)
    assert engine.flat_to * token_s <= read_s < (engine.flat_to + 1) * token_s


def test_the_cache_is_what_the_weights_leave() -> None:
    room = 0.8 * 80e9 - 4e9
    assert H100_1_5B.engine.kv_tokens == int((room - 2 * 1.54e9) / 28_672)
    assert H100_14B.engine.kv_tokens == int((2 * room - 2 * 14.8e9) / 196_608)


def test_two_gpus_share_the_weights_and_pay_for_all_reduces() -> None:
    engine = H100_14B.engine
    alone_s = 2 * 14.8e9 / (2 * 0.7 * 3.35e12) + 0.004
    assert engine.step_s == pytest.approx(alone_s + 2 * 48 * 15e-6)
    assert (engine.replicas, H100_7B.engine.replicas) == (4, 8)


def test_an_update_takes_eight_flop_per_weight_and_token() -> None:
    workload = H100_1_5B.workload
    assert workload.update_token_s == pytest.approx(8 * 1.54e9 / (0.35 * 989e12 * 8))
    assert workload.update_s == pytest.approx(5.0 + 2 * 1.54e9 / 10e9)


def test_what_nobody_measured_is_called_an_estimate() -> None:
    estimates = {name for name, preset in PRESETS.items() if preset.is_estimate}
    assert estimates == {"h100-1.5b", "h100-7b", "h100-14b", "gpu-estimate"}
    assert all(name == preset.name for name, preset in PRESETS.items())
