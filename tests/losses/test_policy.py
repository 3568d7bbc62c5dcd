"""The cross-stage loss: by hand, its gradients, and what must not matter to it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.losses.aggregation import MODES, make_aggregate, token_mean
from copris_core.losses.policy import Clip, cross_stage_policy_loss

DAPO = Clip(low=0.2, high=0.28, dual=3.0)

# One token per case: the surrogate s, the gradient of s to log pi (r A where nothing cuts, else 0).
#   r    A      min(r A, clip(r) A)       s      ds/dlogp
RATIO = [1.5, 0.5, 0.5, 1.5, 5.0, 9.0, 0.1, 1.1]
ADV = [2.0, 2.0, -1.0, -1.0, -1.0, 0.0, 0.0, 1.0]
#   1.5  +2   1.28 * 2: high cuts      2.56   0
#   0.5  +2   0.5 * 2: low does not    1      1
#   0.5  -1   0.8 * -1: low cuts       -0.8   0
#   1.5  -1   1.5 * -1: high does not  -1.5   -1.5
#   5    -1   -5, dual cuts at 3       -3     0
#   9    0    0: no advantage, no cut  0      0
#   0.1  0    0: likewise              0      0
#   1.1  +1   inside the bounds        1.1    1.1
SURROGATE = [2.56, 1.0, -0.8, -1.5, -3.0, 0.0, 0.0, 1.1]
SLOPE = [0.0, 1.0, 0.0, -1.5, 0.0, 0.0, 0.0, 1.1]


def _golden(*, clip: Clip, is_weight_BT: torch.Tensor | None = None):
    behaviour_logp_BT = torch.full((1, 8), -20.0, dtype=torch.float64, requires_grad=True)
    log_ratio_BT = torch.tensor([RATIO], dtype=torch.float64).log()
    logp_BT = (behaviour_logp_BT.detach() + log_ratio_BT).requires_grad_()
    adv_BT = torch.tensor([ADV], dtype=torch.float64, requires_grad=True)
    loss, stats = cross_stage_policy_loss(
        logp_BT,
        behaviour_logp_BT,
        adv_BT,
        torch.ones(1, 8, dtype=torch.bool),
        clip=clip,
        aggregate=token_mean(),
        is_weight_BT=is_weight_BT,
    )
    loss.backward()
    return loss, stats, logp_BT, behaviour_logp_BT, adv_BT


def test_each_bound_cuts_the_tokens_it_should():
    loss, stats, logp_BT, _, _ = _golden(clip=DAPO)
    assert loss.item() == pytest.approx(-sum(SURROGATE) / 8)
    assert logp_BT.grad[0].tolist() == pytest.approx([-slope / 8 for slope in SLOPE])
    assert stats["clip_fraction"].item() == pytest.approx(2 / 8)
    assert stats["dual_clip_fraction"].item() == pytest.approx(1 / 8)
    assert stats["behaviour_kl"].item() == pytest.approx(-sum(map(math.log, RATIO)) / 8)


def test_without_dual_clip_a_bad_token_may_weigh_any_ratio():
    loss, stats, logp_BT, _, _ = _golden(clip=Clip(low=0.2, high=0.28))
    assert loss.item() == pytest.approx(-(sum(SURROGATE) + 3.0 - 5.0) / 8)
    assert logp_BT.grad[0, 4].item() == pytest.approx(5.0 / 8)
    assert stats["dual_clip_fraction"].item() == 0.0


def test_neither_behaviour_nor_advantage_nor_weight_takes_a_gradient():
    is_weight_BT = torch.full((1, 8), 0.5, dtype=torch.float64, requires_grad=True)
    loss, stats, _, behaviour_logp_BT, adv_BT = _golden(clip=DAPO, is_weight_BT=is_weight_BT)
    assert loss.item() == pytest.approx(-0.5 * sum(SURROGATE) / 8)
    assert behaviour_logp_BT.grad is None
    assert adv_BT.grad is None
    assert is_weight_BT.grad is None
    assert not any(value.requires_grad for value in stats.values())


def test_the_on_policy_gradient_is_reinforce():
    logp_BT = torch.tensor([[-1.0, -2.0, -3.0], [-0.5, -0.1, -9.0]], requires_grad=True)
    adv_BT = torch.tensor([[1.5, 1.5, 1.5], [-0.5, -0.5, -0.5]])
    mask_BT = torch.tensor([[True, True, False], [True, True, True]])
    loss, _ = cross_stage_policy_loss(
        logp_BT, logp_BT, adv_BT, mask_BT, clip=DAPO, aggregate=token_mean()
    )
    loss.backward()
    # REINFORCE: -mean_t A_t grad log pi_t, and grad log pi_t of its own log-prob is 1; 5 tokens.
    torch.testing.assert_close(logp_BT.grad, -adv_BT * mask_BT / 5)


@pytest.mark.parametrize("log_ratio", [1e4, -1e4, math.inf])
def test_an_extreme_log_ratio_is_clamped_and_sends_no_gradient(log_ratio):
    logp_BT = torch.tensor([[0.0]], requires_grad=True)
    behaviour_logp_BT = torch.tensor([[-log_ratio]])
    loss, stats = cross_stage_policy_loss(
        logp_BT,
        behaviour_logp_BT,
        torch.tensor([[-1.0]]),
        torch.ones(1, 1, dtype=torch.bool),
        clip=Clip(low=0.9999999999, high=1e9),
        aggregate=token_mean(),
    )
    loss.backward()
    clamped = math.copysign(20.0, log_ratio)
    assert loss.item() == pytest.approx(math.exp(clamped), rel=1e-6)
    assert stats["behaviour_kl"].item() == -clamped
    assert logp_BT.grad.item() == 0.0


JUNK = st.sampled_from([math.nan, math.inf, -math.inf, 1e38, -1e38, 0.0])
NUMBER = st.floats(-3, 3)


@given(data=st.data(), mode=st.sampled_from(MODES))
def test_padding_content_never_matters(data, mode):
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=2, max_size=2))
    mask_BT = torch.arange(4) < torch.tensor(lengths)[:, None]

    def draw(values):
        return torch.tensor(data.draw(st.lists(values, min_size=8, max_size=8))).view(2, 4)

    inputs = [draw(NUMBER) for _ in range(4)]
    junk = [torch.where(mask_BT, value_BT, draw(JUNK)) for value_BT in inputs]
    results = []
    for logp_BT, behaviour_logp_BT, adv_BT, is_weight_BT in (inputs, junk):
        leaf_BT = logp_BT.clone().requires_grad_()
        loss, stats = cross_stage_policy_loss(
            leaf_BT,
            behaviour_logp_BT,
            adv_BT,
            mask_BT,
            clip=DAPO,
            aggregate=make_aggregate(mode),
            is_weight_BT=is_weight_BT,
        )
        loss.backward()
        results.append((loss.detach(), leaf_BT.grad, *stats.values()))
    clean, padded = results
    for value, with_junk in zip(clean, padded, strict=True):
        assert value.isfinite().all()
        assert torch.equal(value, with_junk)
    assert not clean[1][~mask_BT].any()


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_mask_is_finite_in_value_gradient_and_statistics(mode):
    logp_BT = torch.full((2, 3), -math.inf, requires_grad=True)
    loss, stats = cross_stage_policy_loss(
        logp_BT,
        torch.full((2, 3), -math.inf),
        torch.full((2, 3), math.nan),
        torch.zeros(2, 3, dtype=torch.bool),
        clip=DAPO,
        aggregate=make_aggregate(mode),
    )
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logp_BT.grad, torch.zeros(2, 3))
    assert all(value.item() == 0.0 for value in stats.values())


def test_one_advantage_per_row_broadcasts_over_its_tokens():
    torch.manual_seed(0)
    logp_BT, behaviour_logp_BT = -torch.rand(3, 5), -torch.rand(3, 5)
    adv_B1 = torch.tensor([[1.0], [-1.0], [0.5]])
    mask_BT = torch.rand(3, 5) < 0.7
    narrow, wide = (
        cross_stage_policy_loss(
            logp_BT, behaviour_logp_BT, adv_BT, mask_BT, clip=DAPO, aggregate=token_mean()
        )
        for adv_BT in (adv_B1, adv_B1.expand(3, 5))
    )
    assert narrow == wide


@pytest.mark.parametrize(
    ("bounds", "named"),
    [
        ({"low": 0.0, "high": 0.2}, "low=0.0"),
        ({"low": 1.0, "high": 0.2}, "low=1.0"),
        ({"low": math.nan, "high": 0.2}, "low=nan"),
        ({"low": 0.2, "high": 0.0}, "high=0.0"),
        ({"low": 0.2, "high": math.nan}, "high=nan"),
        ({"low": 0.2, "high": 0.2, "dual": 1.0}, "dual=1.0"),
    ],
)
def test_a_bound_that_does_not_contain_one_is_refused_by_name(bounds, named):
    with pytest.raises(ValueError, match=named):
        Clip(**bounds)
