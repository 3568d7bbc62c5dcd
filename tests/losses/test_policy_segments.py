"""However a response is cut into segments, its loss stays the same."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from copris_core.losses.aggregation import token_mean
from copris_core.losses.policy import Clip, cross_stage_policy_loss

CLIP = Clip(low=0.2, high=0.28, dual=3.0)
LOGP = st.floats(-3, 0)


@st.composite
def _segmented_responses(draw: st.DrawFn) -> list[list[list[tuple[float, float]]]]:
    """Responses, each a list of segments, each a list of (current, behaviour) log-probs."""
    segment = st.lists(st.tuples(LOGP, LOGP), max_size=4)
    return draw(st.lists(st.lists(segment, min_size=1, max_size=4), min_size=1, max_size=3))


def _padded(rows: list[list[tuple[float, float]]], width: int):
    """Log-probs and mask of rows of tokens, padded with -inf as an engine would."""
    logps_BT2 = torch.full((len(rows), width, 2), -torch.inf, dtype=torch.float64)
    mask_BT = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, tokens in enumerate(rows):
        if tokens:
            logps_BT2[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.float64)
            mask_BT[row, : len(tokens)] = True
    return logps_BT2, mask_BT


def _loss_and_grad(rows, advantages, width):
    logps_BT2, mask_BT = _padded(rows, width)
    logps_BT2.requires_grad_()
    adv_BT = torch.tensor(advantages, dtype=torch.float64)[:, None].expand(mask_BT.shape)
    loss, _ = cross_stage_policy_loss(
        logps_BT2[..., 0], logps_BT2[..., 1], adv_BT, mask_BT, clip=CLIP, aggregate=token_mean()
    )
    loss.backward()
    return loss.detach(), logps_BT2.grad[..., 0][mask_BT]


@given(responses=_segmented_responses(), extra=st.integers(0, 5), data=st.data())
def test_a_split_into_segments_leaves_loss_and_gradient_unchanged(responses, extra, data):
    advantages = [data.draw(st.floats(-2, 2)) for _ in responses]
    joined = [[token for segment in segments for token in segment] for segments in responses]
    as_rows = [segment for segments in responses for segment in segments]
    row_adv = [a for a, segments in zip(advantages, responses, strict=True) for _ in segments]
    whole = _loss_and_grad(joined, advantages, 16 + extra)
    pieces = _loss_and_grad(as_rows, row_adv, 4)
    torch.testing.assert_close(whole, pieces, atol=1e-12, rtol=1e-12)


def test_the_ratio_is_taken_against_each_tokens_own_stage():
    # Two stages: the first sampled at log 0.5, the second at log 0.25; the policy now gives 0.5.
    rows = [[(-0.5, -0.5), (-0.5, -0.5), (-0.5, -0.6)]]
    loss, grad = _loss_and_grad(rows, [1.0], 3)
    ratios = torch.tensor([0.0, 0.0, 0.1], dtype=torch.float64).exp()
    torch.testing.assert_close(loss, -ratios.mean())
    torch.testing.assert_close(grad, -ratios / 3)
