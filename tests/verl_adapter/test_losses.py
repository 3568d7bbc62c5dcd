"""Our loss inside verl: verl's own numbers where they coincide, and what it measures."""

from functools import partial

import pytest
import torch
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig, FSDPActorConfig
from verl.workers.utils.losses import ppo_loss

from copris_core.verl_adapter.losses import MeasuredLoss, clip_of
from copris_core.verl_adapter.records import update_metrics

pytestmark = pytest.mark.verl


def _config(**changes: object) -> ActorConfig:
    settings = {
        "strategy": "fsdp2",
        "rollout_n": 2,
        "ppo_mini_batch_size": 2,
        "ppo_micro_batch_size_per_gpu": 2,
        "clip_ratio_low": 0.2,
        "clip_ratio_high": 0.28,
        "clip_ratio_c": 3.0,
    }
    return FSDPActorConfig(**{**settings, **changes})


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-sum", "seq-mean-token-mean"])
def test_cross_stage_equals_verls_vanilla_loss(mode: str) -> None:
    draw = partial(
        torch.randn, 4, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    old, new, adv = draw(), draw(), draw()
    mask = torch.arange(7) < torch.tensor([[7], [3], [1], [5]])
    config = _config()
    config.global_batch_info.update(dp_size=1, batch_num_tokens=16, global_batch_size=4)
    losses = {}
    for name in ("vanilla", "cross_stage"):
        leaf = new.clone().requires_grad_()
        loss, metrics = get_policy_loss_fn(name)(
            old_log_prob=old,
            log_prob=leaf,
            advantages=adv,
            response_mask=mask,
            loss_agg_mode=mode,
            config=config,
        )
        loss.backward()
        losses[name] = (
            loss.detach(),
            leaf.grad,
            metrics["actor/pg_clipfrac"],
            metrics["actor/ppo_kl"],
        )
    for theirs, ours in zip(losses["vanilla"], losses["cross_stage"], strict=True):
        torch.testing.assert_close(
            torch.as_tensor(ours), torch.as_tensor(theirs), atol=1e-6, rtol=0
        )


def _micro_batch(logp: list[float], engine: list[float], versions: list[int], now: int) -> tuple:
    """One response of len(logp) tokens after a prompt of one token."""
    length = len(logp)
    jagged = partial(torch.nested.as_nested_tensor, layout=torch.jagged)
    fields = {
        "prompts": jagged([torch.tensor([5])]),
        "responses": jagged([torch.arange(length)]),
        "input_ids": jagged([torch.arange(length + 1)]),
        "attention_mask": jagged([torch.ones(length + 1, dtype=torch.int64)]),
        "response_mask": jagged([torch.ones(length, dtype=torch.int64)]),
        "rollout_log_probs": jagged([torch.tensor(engine)]),
        "advantages": jagged([torch.ones(length)]),
        "policy_version": jagged([torch.tensor(versions)]),
    }
    data = TensorDict(fields, batch_size=[1])
    tu.assign_non_tensor_data(data, "current_version", now)
    # verl's log_probs run over prompt and response, each predicting the next token.
    return {"log_probs": jagged([torch.tensor([*logp, 0.0])])}, data


def _measured() -> MeasuredLoss:
    return MeasuredLoss(lambda **_: (torch.zeros(()), {}), _config())


def test_the_gap_counts_fresh_tokens_only_and_only_before_the_first_optimizer_step() -> None:
    loss = _measured()
    output, data = _micro_batch([-1.0, -2.0, -3.0], [-1.0, -2.5, -7.0], [4, 4, 3], now=4)
    loss.begin()
    metrics = loss(model_output=output, data=data)[1]
    assert metrics["logprob_gap/max"].aggregate() == pytest.approx(0.5)  # not the 4.0 of version 3
    assert metrics["logprob_gap/tokens"].aggregate() == 2
    loss.end()
    assert "logprob_gap/max" not in loss(model_output=output, data=data)[1]


def test_the_gap_of_resumed_responses_is_told_apart() -> None:
    """Only fresh tokens behind older ones can have been sampled on a kept KV cache."""
    loss = _measured()
    loss.begin()
    resumed = _micro_batch([-1.0, -2.0, -3.0], [-9.0, -2.5, -3.1], [3, 4, 4], now=4)
    whole = _micro_batch([-1.0, -2.0], [-3.0, -2.0], [4, 4], now=4)
    of_resumed, of_whole = (loss(model_output=o, data=d)[1] for o, d in (resumed, whole))
    assert of_resumed["resumed_gap/max"].aggregate() == pytest.approx(0.5)
    assert of_resumed["resumed_gap/abs_sum"].aggregate() == pytest.approx(0.6)
    assert of_resumed["resumed_gap/tokens"].aggregate() == 2
    assert of_whole["resumed_gap/tokens"].aggregate() == 0
    assert of_whole["logprob_gap/max"].aggregate() == pytest.approx(2.0)


def test_each_token_of_a_micro_batch_is_compared_with_itself() -> None:
    """Prompts and responses of several lengths; -77 is what belongs to no response token."""
    jagged = partial(torch.nested.as_nested_tensor, layout=torch.jagged)
    logp = [[-77, -1.0, -2.0, -77], [-3.0, -77], [-77, -77, -4.0, -5.0, -6.0, -77]]
    engine = [[-1.5, -2.0], [-3.0], [-4.0, -5.25, -8.0]]
    versions = [[4, 4], [2], [3, 4, 4]]
    fields = {
        "prompts": jagged([torch.zeros(length) for length in (2, 1, 3)]),
        "responses": jagged([torch.zeros(length) for length in (2, 1, 3)]),
        # The second row is one that verl made up: fields of another one, which is longer.
        "response_mask": jagged([torch.ones(length, dtype=torch.int64) for length in (2, 4, 3)]),
        "rollout_log_probs": jagged(
            [torch.tensor([*row, *[-77.0] * (3 * (len(row) == 1))]) for row in engine]
        ),
        "advantages": jagged([torch.ones(length) for length in (2, 1, 3)]),
        "policy_version": jagged([torch.tensor(row) for row in versions]),
    }
    data = TensorDict(fields, batch_size=[3])
    tu.assign_non_tensor_data(data, "current_version", 4)
    loss = _measured()
    loss.begin()
    output = {"log_probs": jagged([torch.tensor(row) for row in logp])}
    metrics = {name: each.aggregate() for name, each in loss(output, data)[1].items()}
    assert metrics["logprob_gap/abs_sum"] == pytest.approx(0.5 + 0 + 0.25 + 2)
    assert metrics["logprob_gap/tokens"] == 4
    assert metrics["resumed_gap/abs_sum"] == pytest.approx(0.25 + 2)  # of the third alone
    assert metrics["resumed_gap/tokens"] == 2
    assert [metrics[f"lag{lag}/tokens"] for lag in range(4)] == [4, 1, 1, 0]
    assert metrics["lag2/ratio_sum"] == 1.0


def test_the_row_names_both_gaps_and_leaves_out_what_was_not_seen() -> None:
    def row(resumed_tokens: float) -> dict[str, float]:
        sums = {"max": 0.5, "abs_sum": 0.6, "tokens": resumed_tokens}
        gaps = {f"actor/resumed_gap/{name}": value for name, value in sums.items()}
        gaps |= {
            f"actor/logprob_gap/{name}": value for name, value in {**sums, "tokens": 3}.items()
        }
        metrics = dict(gaps)
        found = update_metrics(metrics, num_forwards=1)
        assert not metrics
        return found

    assert row(2)["logprob_gap/mean"] == pytest.approx(0.2)
    assert row(2)["kv/resumed_logprob_error_mean"] == pytest.approx(0.3)
    assert row(2)["kv/resumed_logprob_error_max"] == 0.5
    assert not [name for name in row(0) if name.startswith("kv/")]


def test_ratios_are_summed_by_lag() -> None:
    output, data = _micro_batch([0.0, 0.0, 0.0], [0.0, -0.1, -0.1], [4, 3, 0], now=4)
    metrics = _measured()(model_output=output, data=data)[1]
    tokens = [metrics[f"lag{lag}/tokens"].aggregate() for lag in range(4)]
    assert tokens == [1, 1, 0, 1]  # lag 4 falls into the last bucket
    assert metrics["lag1/ratio_sum"].aggregate() == pytest.approx(1.10517, abs=1e-5)  # e^0.1


def test_without_versions_every_token_is_of_the_current_policy() -> None:
    output, data = _micro_batch([0.0, 0.0], [0.0, 0.0], [0, 0], now=4)
    metrics = _measured()(model_output=output, data=data.exclude("policy_version"))[1]
    assert metrics["lag0/tokens"].aggregate() == 2


def test_the_clip_is_verls() -> None:
    clip = clip_of(_config(clip_ratio_high=0.3))
    assert (clip.low, clip.high, clip.dual) == (0.2, 0.3, 3.0)


def _with(data: TensorDict, **fields: list[float]) -> TensorDict:
    for name, values in fields.items():
        data[name] = torch.nested.as_nested_tensor([torch.tensor(values)], layout=torch.jagged)
    return data


def test_a_rejected_token_still_counts_in_the_gap() -> None:
    loss = _measured()
    output, data = _micro_batch([-1.0, -2.0], [-1.0, -9.0], [4, 4], now=4)
    _with(data, response_mask=[1, 0], sampled_mask=[1, 1])
    loss.begin()
    metrics = loss(model_output=output, data=data)[1]
    assert metrics["logprob_gap/max"].aggregate() == pytest.approx(7.0)
    assert metrics["logprob_gap/tokens"].aggregate() == 2
    assert metrics["lag0/tokens"].aggregate() == 1  # and no longer in the ratio


def test_with_stage_log_probs_the_ratio_is_theirs_and_the_gap_the_engines() -> None:
    loss = _measured()
    output, data = _micro_batch([0.0, 0.0], [0.0, -0.5], [3, 4], now=4)
    _with(data, stage_log_probs=[-0.1, 0.0])
    loss.begin()
    metrics = loss(model_output=output, data=data)[1]
    assert metrics["lag1/ratio_sum"].aggregate() == pytest.approx(1.10517, abs=1e-5)  # e^0.1
    assert metrics["lag0/ratio_sum"].aggregate() == pytest.approx(1.0)
    assert metrics["logprob_gap/max"].aggregate() == pytest.approx(0.5)


def test_a_mini_batch_that_was_rejected_as_a_whole_has_a_finite_zero_loss() -> None:
    config = _config()
    output, data = _micro_batch([-1.0, -2.0], [-1.0, -2.0], [4, 4], now=4)
    logp = torch.tensor([-1.0, -2.0, 0.0], requires_grad=True)
    output["log_probs"] = torch.nested.as_nested_tensor([logp], layout=torch.jagged)
    _with(data, response_mask=[0, 0], sampled_mask=[1, 1], old_log_probs=[-1.0, -2.0])
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=0, global_batch_size=2)
    loss, _ = MeasuredLoss(partial(ppo_loss, config=config), config)(output, data)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, logp)[0].tolist() == [0, 0, 0]


def test_a_weight_scales_a_tokens_surrogate() -> None:
    draw = partial(torch.randn, 2, 3, generator=torch.Generator().manual_seed(0))
    old, new, adv = draw(), draw(), draw()
    config = _config()
    config.global_batch_info.update(dp_size=1, batch_num_tokens=6, global_batch_size=2)
    weighted, doubled = (
        get_policy_loss_fn("cross_stage")(
            old_log_prob=old, log_prob=new, advantages=each_adv, rollout_is_weights=weights,
            response_mask=torch.ones(2, 3), loss_agg_mode="token-mean", config=config,
        )[0]
        for weights, each_adv in ((torch.full((2, 3), 2.0), adv), (None, 2 * adv))
    )  # fmt: skip
    torch.testing.assert_close(weighted, doubled)
