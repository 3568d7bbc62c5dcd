"""Parameters and KV cache by a config.json: against what is published, and against real weights."""

import json
import math
import struct
from pathlib import Path

import pytest

from copris_core.simulator.architecture import Architecture
from copris_core.simulator.presets import QWEN_1_5B, QWEN_7B

ASSETS = Path(__file__).parents[2] / "copris_core" / "assets"
R1_1P5B = {
    "model_type": "qwen2",
    "hidden_size": 1536,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "intermediate_size": 8960,
    "vocab_size": 151936,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
SEVEN = {
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
}
EIGHT = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
}


@pytest.mark.parametrize(
    ("changed", "params", "kv_bytes"),
    [
        # Tied: one matrix of 151936 x 1536 less than the next. KV: 2 x 28 x 2 x 128 x 2 B.
        ({"tie_word_embeddings": True}, 1_543_714_304, 28_672),
        ({}, 1_777_088_000, 28_672),
        (SEVEN, 7_615_616_512, 57_344),
        # 2 x 36 x 8 x 128 x 2 B.
        (EIGHT, 8_190_735_360, 147_456),
    ],
)
def test_parameters_are_those_that_are_published(changed, params, kv_bytes):
    model = Architecture.from_config(R1_1P5B | changed)
    assert model.params == params
    assert model.weight_bytes == 2 * params
    assert model.kv_bytes() == kv_bytes


@pytest.mark.parametrize("name", ["tiny_days", "tiny_prorl"])
def test_parameters_are_those_of_the_packaged_weights(name):
    with (ASSETS / name / "model.safetensors").open("rb") as weights:
        (length,) = struct.unpack("<Q", weights.read(8))
        header = json.loads(weights.read(length))
    stored = sum(math.prod(each["shape"]) for key, each in header.items() if key[:2] != "__")
    config = json.loads((ASSETS / name / "config.json").read_text())
    assert Architecture.from_config(config).params == stored


def test_the_presets_of_the_planner_are_the_same_models():
    small = Architecture.from_config(R1_1P5B | {"tie_word_embeddings": True})
    large = Architecture.from_config(R1_1P5B | SEVEN)
    assert (small.kv_bytes(), large.kv_bytes()) == (QWEN_1_5B.kv_bytes, QWEN_7B.kv_bytes)
    assert small.params == pytest.approx(QWEN_1_5B.params, rel=0.01)
    assert large.params == pytest.approx(QWEN_7B.params, rel=0.01)


def test_tensor_parallelism_divides_the_kv_heads_until_each_gpu_has_one():
    model = Architecture.from_config(R1_1P5B)
    assert model.kv_bytes(tensor_parallel=2) == 28_672 // 2
    assert model.kv_bytes(tensor_parallel=4) == 28_672 // 2


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"model_type": "mamba"}, "model_type=mamba is none of llama, mistral, qwen2, qwen3"),
        ({"vocab_size": None}, "vocab_size is None, not a whole number from 1"),
        ({"num_hidden_layers": "28"}, "num_hidden_layers is 28, not a whole number from 1"),
    ],
)
def test_a_model_that_cannot_be_counted_is_refused(changed, line):
    with pytest.raises(ValueError, match=line):
        Architecture.from_config(R1_1P5B | changed)
