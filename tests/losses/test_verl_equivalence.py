"""Where our losses and verl's coincide, they are the same numbers."""

import pytest
import torch

from copris_core.losses.aggregation import MODES, make_aggregate
from copris_core.losses.kl import ESTIMATORS, kl_estimator
from copris_core.losses.policy import Clip, cross_stage_policy_loss

pytestmark = pytest.mark.verl

GLOBAL_COUNTS = [
    {"dp_size": 1},
    {
        "dp_size": 4,
        "batch_num_tokens": 999,
        "global_batch_size": 64,
        "loss_scale_factor": 128,
    },
]


@pytest.fixture
def core_algos():
    """verl's module, imported only when a test of this file really runs."""
    from verl.trainer.ppo import core_algos

    return core_algos


def _batch(seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Current and behaviour log-probs far enough apart to meet every bound, A, mask, weights."""
    generator = torch.Generator().manual_seed(seed)
    logp_BT = -3 * torch.rand(16, 40, generator=generator)
    behaviour_logp_BT = logp_BT + torch.randn(16, 40, generator=generator)
    adv_BT = torch.randn(16, 1, generator=generator).repeat(1, 40)
    adv_BT[0] = 0.0
    length_B = torch.randint(0, 41, (16, 1), generator=generator)
    mask_BT = torch.arange(40) < length_B
    return logp_BT, behaviour_logp_BT, adv_BT, mask_BT, torch.rand(16, 40, generator=generator)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", GLOBAL_COUNTS)
def test_aggregation_is_agg_loss(core_algos, mode, counts):
    loss_BT, _, _, mask_BT, _ = _batch()
    ours = make_aggregate(mode, **counts)(loss_BT, mask_BT)
    theirs = core_algos.agg_loss(loss_BT, mask_BT, mode, **counts)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("counts", GLOBAL_COUNTS)
@pytest.mark.parametrize("high", [0.2, 0.28])
@pytest.mark.parametrize("weighted", [False, True])
def test_one_stage_is_vanilla_in_value_gradient_and_metrics(
    core_algos, mode, counts, high, weighted
):
    from verl.workers.config import ActorConfig

    logp_BT, behaviour_logp_BT, adv_BT, mask_BT, weight_BT = _batch()
    is_weight_BT = weight_BT if weighted else None
    config = ActorConfig(
        strategy="fsdp",
        rollout_n=1,
        use_dynamic_bsz=True,
        clip_ratio_low=0.2,
        clip_ratio_high=high,
        clip_ratio_c=3.0,
        global_batch_info=counts,
    )
    ours_BT, theirs_BT = (logp_BT.clone().requires_grad_() for _ in range(2))
    theirs, metrics = core_algos.compute_policy_loss_vanilla(
        behaviour_logp_BT, theirs_BT, adv_BT, mask_BT, mode, config, is_weight_BT
    )
    ours, stats = cross_stage_policy_loss(
        ours_BT,
        behaviour_logp_BT,
        adv_BT,
        mask_BT,
        clip=Clip(low=0.2, high=high, dual=3.0),
        aggregate=make_aggregate(mode, **counts),
        is_weight_BT=is_weight_BT,
    )
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours_BT.grad, theirs_BT.grad, atol=1e-6, rtol=1e-6)
    assert metrics["actor/pg_clipfrac_lower"] > 0.02
    for name, ours_name in {
        "actor/pg_clipfrac": "clip_fraction",
        "actor/pg_clipfrac_lower": "dual_clip_fraction",
        "actor/ppo_kl": "behaviour_kl",
    }.items():
        assert stats[ours_name].item() == pytest.approx(metrics[name], abs=1e-6)


@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_a_kl_estimator_is_verls_of_the_same_name(core_algos, name):
    logp_BT, ref_logp_BT, *_ = _batch()
    ref_logp_BT = ref_logp_BT * torch.linspace(-20, 20, 40)  # reaches both clamps of k3
    torch.testing.assert_close(
        kl_estimator(name)(logp_BT, ref_logp_BT),
        core_algos.kl_penalty_forward(logp_BT, ref_logp_BT, name),
        atol=0,
        rtol=0,
    )
