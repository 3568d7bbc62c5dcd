"""Every sequence enumerated: of which gradients the cross-stage loss is an unbiased estimate.

Three symbols V, three tokens T, N = 4 borders * 27 sequences. Token t was sampled by the first
policy if it lies before the border, by the second otherwise; the border is uniform over 0..3.
The expectation over behaviours is exact: an aggregate that weighs each row by its probability.
"""

from itertools import product

import torch
from torch import Tensor

from copris_core.losses.correction import importance_weights, truncated
from copris_core.losses.policy import Clip, cross_stage_policy_loss

UNCLIPPED = Clip(low=1 - 1e-12, high=1e12)
BORDERED = list(product(range(4), product(range(3), repeat=3)))
BORDER_N = torch.tensor([border for border, _ in BORDERED])
TOKENS_NT = torch.tensor([sequence for _, sequence in BORDERED])
# A token's context is its prefix: 1 empty one, 3 of one token, 9 of two.
CONTEXT_NT = torch.stack(
    [
        torch.zeros(len(BORDERED), dtype=torch.int64),
        1 + TOKENS_NT[:, 0],
        4 + 3 * TOKENS_NT[:, 0] + TOKENS_NT[:, 1],
    ],
    dim=1,
)
POSITION_NT = torch.arange(3).expand_as(TOKENS_NT)


def _logits(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, dtype=torch.float64, generator=generator)


def _logp_NT(logits: Tensor, state_NT: Tensor) -> Tensor:
    return logits.log_softmax(-1)[state_NT, TOKENS_NT]


def _mixed_logp_NT(state_NT: Tensor, rows: int) -> Tensor:
    before_NT = torch.arange(3) < BORDER_N[:, None]
    first, second = _logits(rows, seed=1), _logits(rows, seed=2)
    return torch.where(before_NT, _logp_NT(first, state_NT), _logp_NT(second, state_NT))


def _on_policy_gradient(logits: Tensor, state_NT: Tensor, reward_N: Tensor) -> Tensor:
    """Gradient of J = sum_y pi(y) R(y), by differentiating the sum itself."""
    logp_N = _logp_NT(logits, state_NT).sum(-1)
    value = (logp_N.exp() * reward_N).sum() / 4  # each sequence occurs once per border
    return torch.autograd.grad(value, logits)[0]


def _cross_stage_gradient(
    logits: Tensor,
    behaviour_logp_NT: Tensor,
    state_NT: Tensor,
    reward_N: Tensor,
    is_weight_NT: Tensor | None = None,
) -> Tensor:
    probability_N = behaviour_logp_NT.sum(-1).exp() / 4

    def expectation(loss_NT: Tensor, mask_NT: Tensor) -> Tensor:
        return ((loss_NT * mask_NT).sum(-1) * probability_N).sum()

    loss, _ = cross_stage_policy_loss(
        _logp_NT(logits, state_NT),
        behaviour_logp_NT,
        reward_N[:, None].expand(-1, 3),
        torch.ones_like(TOKENS_NT, dtype=torch.bool),
        clip=UNCLIPPED,
        aggregate=expectation,
        is_weight_BT=is_weight_NT,
    )
    return -torch.autograd.grad(loss, logits)[0]


def test_behaviour_probabilities_sum_to_one():
    torch.testing.assert_close(
        _mixed_logp_NT(CONTEXT_NT, 13).sum(-1).exp().sum() / 4,
        torch.tensor(1.0, dtype=torch.float64),
    )


def test_a_categorical_policy_gets_the_on_policy_gradient_from_two_stages():
    """Tokens independent, reward additive: other tokens only shift A_t by a constant mean."""
    logits = _logits(3, seed=0).requires_grad_()
    reward_N = _logits(3, seed=3)[POSITION_NT, TOKENS_NT].sum(-1)
    estimate = _cross_stage_gradient(logits, _mixed_logp_NT(POSITION_NT, 3), POSITION_NT, reward_N)
    expected = _on_policy_gradient(logits, POSITION_NT, reward_N)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(estimate, expected, atol=1e-12, rtol=0)


def test_the_same_samples_without_importance_ratios_give_another_gradient():
    logits = _logits(3, seed=0).requires_grad_()
    reward_N = _logits(3, seed=3)[POSITION_NT, TOKENS_NT].sum(-1)
    probability_N = _mixed_logp_NT(POSITION_NT, 3).sum(-1).exp() / 4
    naive = (_logp_NT(logits, POSITION_NT).sum(-1) * reward_N * probability_N).sum()
    expected = _on_policy_gradient(logits, POSITION_NT, reward_N)
    assert (torch.autograd.grad(naive, logits)[0] - expected).abs().max() > 0.1


def test_an_autoregressive_policy_gets_it_for_any_reward_with_the_other_tokens_ratios():
    logits = _logits(13, seed=0).requires_grad_()
    reward_N = _logits(9, seed=3).reshape(27).repeat(4)
    behaviour_logp_NT = _mixed_logp_NT(CONTEXT_NT, 13)
    log_ratio_NT = (_logp_NT(logits, CONTEXT_NT) - behaviour_logp_NT).detach()
    others_NT = (log_ratio_NT.sum(-1, keepdim=True) - log_ratio_NT).exp()
    expected = _on_policy_gradient(logits, CONTEXT_NT, reward_N)
    exact = _cross_stage_gradient(logits, behaviour_logp_NT, CONTEXT_NT, reward_N, others_NT)
    torch.testing.assert_close(exact, expected, atol=1e-12, rtol=0)


def test_an_autoregressive_policy_is_biased_by_stale_prefixes_without_them():
    """The limit of a per-token ratio, PPO's as well as ours: it does not reweigh the prefix."""
    logits = _logits(13, seed=0).requires_grad_()
    reward_N = _logits(9, seed=3).reshape(27).repeat(4)
    estimate = _cross_stage_gradient(logits, _mixed_logp_NT(CONTEXT_NT, 13), CONTEXT_NT, reward_N)
    expected = _on_policy_gradient(logits, CONTEXT_NT, reward_N)
    assert (estimate - expected).abs().max() > 0.01


# Decoupled: the ratio is taken against the policy before the update, here the trained one itself,
# and a truncated weight c = pi / behaviour stands for who sampled.


def _decoupled_gradient(
    logits: Tensor, state_NT: Tensor, reward_N: Tensor, *, level: str, threshold: float
) -> Tensor:
    rows = 3 if state_NT is POSITION_NT else 13
    behaviour_logp_NT = _mixed_logp_NT(state_NT, rows)
    now_logp_NT = _logp_NT(logits, state_NT).detach()
    mask_NT = torch.ones_like(TOKENS_NT, dtype=torch.bool)
    raw_NT = importance_weights(now_logp_NT - behaviour_logp_NT, mask_NT, level=level)
    probability_N = behaviour_logp_NT.sum(-1).exp() / 4
    loss, _ = cross_stage_policy_loss(
        _logp_NT(logits, state_NT),
        now_logp_NT,
        reward_N[:, None].expand(-1, 3),
        mask_NT,
        clip=UNCLIPPED,
        aggregate=lambda loss_NT, _: (loss_NT.sum(-1) * probability_N).sum(),
        is_weight_BT=truncated(raw_NT, threshold=threshold),
    )
    return -torch.autograd.grad(loss, logits)[0]


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of an autoregressive policy, a reward of the whole sequence, p and q of each row."""
    logits = _logits(13, seed=0).requires_grad_()
    reward_N = _logits(9, seed=3).reshape(27).repeat(4)
    now_N = _logp_NT(logits, CONTEXT_NT).sum(-1).exp()
    return logits, reward_N, now_N


def test_sequence_weights_give_the_on_policy_gradient_for_any_policy_and_reward():
    logits, reward_N, _ = _inputs()
    estimate = _decoupled_gradient(logits, CONTEXT_NT, reward_N, level="sequence", threshold=1e9)
    expected = _on_policy_gradient(logits, CONTEXT_NT, reward_N)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(estimate, expected, atol=1e-12, rtol=0)


def test_truncation_loses_exactly_the_probability_above_threshold_times_behaviour():
    """bias = - sum_y max(0, p(y) - c q(y)) R(y) grad log p(y)."""
    logits, reward_N, now_N = _inputs()
    behaviour_N = _mixed_logp_NT(CONTEXT_NT, 13).sum(-1).exp()
    lost_N = (now_N.detach() - 2.0 * behaviour_N).clamp(min=0) / 4
    logp_N = _logp_NT(logits, CONTEXT_NT).sum(-1)
    bias = -torch.autograd.grad((lost_N * reward_N * logp_N).sum(), logits)[0]
    estimate = _decoupled_gradient(logits, CONTEXT_NT, reward_N, level="sequence", threshold=2.0)
    expected = _on_policy_gradient(logits, CONTEXT_NT, reward_N)
    assert bias.abs().max() > 0.01
    torch.testing.assert_close(estimate, expected + bias, atol=1e-12, rtol=0)


def test_token_weights_correct_what_the_cross_stage_ratio_corrects_and_no_more():
    """Untruncated and unclipped they are the same gradient, stale prefixes included."""
    logits, reward_N, _ = _inputs()
    estimate = _decoupled_gradient(logits, CONTEXT_NT, reward_N, level="token", threshold=1e9)
    behaviour_logp_NT = _mixed_logp_NT(CONTEXT_NT, 13)
    same = _cross_stage_gradient(logits, behaviour_logp_NT, CONTEXT_NT, reward_N)
    torch.testing.assert_close(estimate, same, atol=1e-12, rtol=0)
    expected = _on_policy_gradient(logits, CONTEXT_NT, reward_N)
    assert (estimate - expected).abs().max() > 0.01


def test_token_truncation_loses_the_tokens_probability_above_threshold_times_behaviour():
    """Tokens independent, reward additive: the bias is that of each position by itself.

    bias = - sum_t sum_v max(0, p(v) - c q_t(v)) E[R | y_t = v] grad log p(v), q_t the behaviour
    at t. Rows are summed over, so the behaviour of a row's other tokens gives the E.
    """
    logits = _logits(3, seed=0).requires_grad_()
    reward_N = _logits(3, seed=3)[POSITION_NT, TOKENS_NT].sum(-1)
    behaviour_logp_NT = _mixed_logp_NT(POSITION_NT, 3)
    logp_NT = _logp_NT(logits, POSITION_NT)
    others_NT = (behaviour_logp_NT.sum(-1, keepdim=True) - behaviour_logp_NT).exp() / 4
    lost_NT = (logp_NT.detach().exp() - 1.5 * behaviour_logp_NT.exp()).clamp(min=0)
    biased = (lost_NT * others_NT * reward_N[:, None] * logp_NT).sum()
    bias = -torch.autograd.grad(biased, logits)[0]
    estimate = _decoupled_gradient(logits, POSITION_NT, reward_N, level="token", threshold=1.5)
    expected = _on_policy_gradient(logits, POSITION_NT, reward_N)
    assert bias.abs().max() > 0.01
    torch.testing.assert_close(estimate, expected + bias, atol=1e-12, rtol=0)
