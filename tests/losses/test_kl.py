"""KL estimators: by hand, at their clamps, and in expectation."""

import math

import pytest
import torch

from copris_core.losses.kl import ESTIMATORS, kl_estimator


# d = log pi - log ref = log 2, so ref/pi = 1/2.
@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("kl", "k1"), math.log(2)),
        (("abs",), math.log(2)),
        (("mse", "k2"), math.log(2) ** 2 / 2),
        (("low_var_kl", "k3"), 0.5 + math.log(2) - 1),
    ],
)
def test_an_estimator_gives_the_hand_computed_number_under_each_of_its_names(names, expected):
    logp_BT, ref_logp_BT = torch.tensor([[-1.0]]), torch.tensor([[-1.0 - math.log(2)]])
    for name in names:
        assert kl_estimator(name)(logp_BT, ref_logp_BT).item() == pytest.approx(expected)


def test_the_sign_is_lost_by_abs_only_where_k1_is_negative():
    logp_BT, ref_logp_BT = torch.tensor([[-3.0]]), torch.tensor([[-1.0]])
    assert kl_estimator("k1")(logp_BT, ref_logp_BT).item() == -2.0
    assert kl_estimator("abs")(logp_BT, ref_logp_BT).item() == 2.0


# e^5 - 5 - 1 = 142.4 is cut to 10; -30 is cut to -20 first: e^-20 + 20 - 1 = 19, cut to 10.
@pytest.mark.parametrize("log_ratio", [5.0, 1e9, -30.0])
def test_k3_of_one_token_is_at_most_ten(log_ratio):
    kl_BT = kl_estimator("k3")(torch.zeros(1, 1), torch.tensor([[log_ratio]]))
    assert kl_BT.item() == 10.0


def test_k3_sends_no_gradient_and_no_nan_where_exp_would_overflow():
    logp_BT = torch.zeros(1, 1, requires_grad=True)
    kl_estimator("k3")(logp_BT, torch.tensor([[150.0]])).backward()
    assert logp_BT.grad.item() == 0.0


def test_k1_and_k3_are_the_kl_divergence_in_expectation():
    pi_V = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    ref_V = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    divergence = (pi_V * (pi_V / ref_V).log()).sum().item()
    for name in ("k1", "k3"):
        estimate = (pi_V * kl_estimator(name)(pi_V.log(), ref_V.log())).sum().item()
        assert estimate == pytest.approx(divergence, abs=1e-12)


def test_the_mean_gradient_of_k2_is_the_gradient_of_the_kl_divergence():
    logits_V = torch.tensor([0.3, -0.2, 0.9], dtype=torch.float64, requires_grad=True)
    ref_logp_V = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    logp_V = logits_V.log_softmax(-1)
    pi_V = logp_V.exp().detach()
    (exact_V,) = torch.autograd.grad(
        (logp_V.exp() * (logp_V - ref_logp_V)).sum(), logits_V, retain_graph=True
    )
    (mean_V,) = torch.autograd.grad((pi_V * kl_estimator("k2")(logp_V, ref_logp_V)).sum(), logits_V)
    torch.testing.assert_close(mean_V, exact_V, atol=1e-12, rtol=0)


def test_an_unknown_estimator_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=", ".join(ESTIMATORS)):
        kl_estimator("k4")
