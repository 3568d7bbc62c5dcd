"""The pure core computes on CUDA what it computes on the CPU, and in bf16 what bf16 can hold.

Without a CUDA device the same comparison runs on the CPU against float64, so that it is known to
work; the `gpu` cases run on a machine that has one.

fp32: 1e-5, relative to the largest of |reference| and 1. Both devices add in another order.

bf16: 8 significant bits, so a rounding is off by at most u = 2^-8 of its result. The longest chain
is the policy loss: exp, clamp, advantage, weight, mean's sum, its division, the scale, and the
gradient's product; 8 roundings of terms of at most ``LARGEST``, hence 8 u LARGEST = 2^-5 LARGEST.
"""

import math
from typing import Any

import pytest
import torch

from tests.gpu.tensor_cases import CASES, CLIP, draw, tensor_functions

FP32_BOUND = 1e-5
BF16_BOUND = 8 * 2.0**-8
LARGEST = 2 * CLIP.dual
"""Of a clipped ratio (3) times an advantage (2); elsewhere the bound is relative to the result."""

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
SHAPES = {torch.float32: (32, 257), torch.bfloat16: (16, 33)}


def outputs(name: str, *, device: str, dtype: torch.dtype, like: torch.dtype) -> dict[str, Any]:
    rows, tokens = SHAPES[like]
    return dict(CASES[name](draw(rows=rows, tokens=tokens, device=device, dtype=dtype)))


def as_numbers(value: Any) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", torch.float64)
    return torch.tensor(float(value), dtype=torch.float64)


def worst_error(
    found: dict[str, Any], wanted: dict[str, Any], *, least: float
) -> tuple[float, str]:
    """The largest |found - wanted| / max(|wanted|, least), and where it is."""
    assert found.keys() == wanted.keys()
    errors = {}
    for key in wanted:
        here, there = as_numbers(found[key]), as_numbers(wanted[key])
        assert here.shape == there.shape, key
        errors[key] = float(((here - there).abs() / there.abs().clamp(min=least)).max())
    worst = max(errors, key=lambda key: errors[key] if math.isfinite(errors[key]) else math.inf)
    return errors[worst], worst


def test_every_public_tensor_function_of_the_core_has_a_case() -> None:
    assert sorted(CASES) == sorted(tensor_functions())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_float32_is_right_to_five_digits(name: str, device: str) -> None:
    dtype = torch.float32
    # On CUDA beside the CPU; on the CPU beside a precision that is beyond doubt.
    reference = torch.float64 if device == "cpu" else dtype
    found = outputs(name, device=device, dtype=dtype, like=dtype)
    wanted = outputs(name, device="cpu", dtype=reference, like=dtype)
    error, where = worst_error(found, wanted, least=1.0)
    assert error <= FP32_BOUND, where


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_right_to_its_bound(name: str, device: str) -> None:
    dtype = torch.bfloat16
    found = outputs(name, device=device, dtype=dtype, like=dtype)
    wanted = outputs(name, device="cpu", dtype=torch.float64, like=dtype)
    error, where = worst_error(found, wanted, least=LARGEST)
    assert error <= BF16_BOUND, where


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("losses.")])
def test_a_result_stays_on_the_device_of_its_inputs(name: str, device: str) -> None:
    found = outputs(name, device=device, dtype=torch.float32, like=torch.float32)
    tensors = [value for value in found.values() if isinstance(value, torch.Tensor)]
    assert {value.device.type for value in tensors} <= {device}


def test_the_comparison_sees_a_difference_of_two_bounds() -> None:
    right = {"x": torch.tensor([0.5, 100.0])}
    wrong = {"x": torch.tensor([0.5, 100.0 * (1 + 2 * FP32_BOUND)])}
    assert worst_error(right, right, least=1.0)[0] == 0
    assert worst_error(wrong, right, least=1.0)[0] > FP32_BOUND


def test_the_comparison_sees_what_is_not_a_number() -> None:
    broken = {"x": torch.tensor([math.nan])}
    error, _ = worst_error(broken, {"x": torch.tensor([1.0])}, least=1.0)
    assert not error <= FP32_BOUND
