"""The coefficients of the actor's loss move while it trains; nothing else about the loss does."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig, FSDPActorConfig
from verl.workers.utils.losses import ppo_loss

from copris_core.verl_adapter.worker import GateWorker, LossCoefficients, MeasuredTrainingWorker

pytestmark = pytest.mark.verl


def _worker(**changes: object) -> MeasuredTrainingWorker:
    """An actor whose engine is an optimizer, with verl's loss."""
    settings: dict[str, Any] = {
        "strategy": "fsdp2",
        "rollout_n": 2,
        "ppo_mini_batch_size": 2,
        "ppo_micro_batch_size_per_gpu": 2,
        "use_kl_loss": True,
        "kl_loss_coef": 0.01,
        "entropy_coeff": 0.0,
    }
    worker = object.__new__(MeasuredTrainingWorker)
    weight = torch.nn.Parameter(torch.zeros(1))
    worker.engine = SimpleNamespace(optimizer=torch.optim.SGD([weight], lr=0.1))
    worker.set_loss_fn(partial(ppo_loss, config=FSDPActorConfig(**{**settings, **changes})))
    return worker


def _config(worker: MeasuredTrainingWorker) -> ActorConfig:
    return worker._verl_loss.keywords["config"]


def _loss(worker: MeasuredTrainingWorker) -> tuple[float, dict[str, Any]]:
    """Of two responses of three tokens and one, each behind a prompt of one token."""
    draw = torch.Generator().manual_seed(0)
    lengths = (3, 1)
    jagged = partial(torch.nested.as_nested_tensor, layout=torch.jagged)

    def values(extra: int = 0) -> torch.Tensor:
        drawn = [torch.randn(n + extra, generator=draw, dtype=torch.float64) for n in lengths]
        return jagged(drawn)

    fields = {
        "prompts": jagged([torch.ones(1, dtype=torch.int64) for _ in lengths]),
        "responses": jagged([torch.ones(n, dtype=torch.int64) for n in lengths]),
        "response_mask": jagged([torch.ones(n, dtype=torch.int64) for n in lengths]),
        "old_log_probs": values(),
        "ref_log_prob": values(),
        "advantages": values(),
    }
    data = TensorDict(fields, batch_size=[2])
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=4, global_batch_size=2)
    output = {"log_probs": values(1), "entropy": values(1).abs()}
    loss, metrics = worker.loss_fn(model_output=output, data=data)
    return loss.item(), metrics


def test_the_loss_changes_by_the_change_of_the_coefficient_times_the_kl() -> None:
    worker = _worker()
    before, metrics = _loss(worker)
    worker.set_loss_coefficients(0.26, None)
    after, told = _loss(worker)
    assert after - before == pytest.approx(0.25 * metrics["kl_loss"].aggregate(), rel=1e-12)
    assert metrics["kl_loss"].aggregate() > 0
    assert (metrics["kl_coef"], told["kl_coef"]) == (0.01, 0.26)


def test_an_entropy_bonus_that_begins_at_zero_can_be_turned_on() -> None:
    worker = _worker()
    before, metrics = _loss(worker)
    worker.set_loss_coefficients(None, 0.5)
    after, _ = _loss(worker)
    entropy = metrics["actor/entropy_loss"].aggregate()
    assert after - before == pytest.approx(-0.5 * entropy, rel=1e-12)
    assert entropy > 0


def test_none_leaves_a_coefficient_as_it_is_and_both_are_told() -> None:
    worker = _worker()
    assert worker.set_loss_coefficients(0.2, None) == LossCoefficients(kl=0.2, entropy=0.0)
    assert worker.set_loss_coefficients(None, 0.3) == LossCoefficients(kl=0.2, entropy=0.3)
    assert worker.set_loss_coefficients(None, None) == LossCoefficients(kl=0.2, entropy=0.3)


def test_zero_turns_a_term_off() -> None:
    worker = _worker(entropy_coeff=0.1)
    assert worker.set_loss_coefficients(0.0, 0.0) == LossCoefficients(kl=0.0, entropy=0.0)


def test_everything_else_of_the_loss_stays() -> None:
    worker = _worker(clip_ratio_high=0.4, loss_agg_mode="seq-mean-token-sum", kl_loss_type="k2")
    engine, keywords = _config(worker).engine, {"config", "teacher"}
    worker.set_loss_fn(partial(ppo_loss, config=_config(worker), teacher="kept"))
    worker.set_loss_coefficients(0.2, 0.3)
    config = _config(worker)
    assert config.clip_ratio_high == 0.4
    assert config.loss_agg_mode == "seq-mean-token-sum"
    assert config.kl_loss_type == "k2"
    assert config.engine is engine
    assert worker._verl_loss.func is ppo_loss
    assert worker._verl_loss.keywords.keys() == keywords


def test_the_optimizer_has_one_hook_however_often_they_change() -> None:
    worker = _worker()
    for step in range(5):
        worker.set_loss_coefficients(0.01 * step, None)
    assert len(worker.engine.optimizer._optimizer_step_post_hooks) == 1
    worker.loss_fn.begin()
    worker.engine.optimizer.step()
    assert not worker.loss_fn._same_weights


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_number_is_refused_and_changes_nothing(wrong: float, place: int) -> None:
    worker = _worker()
    config, wanted = _config(worker), [0.2, 0.3]
    wanted[place] = wrong
    with pytest.raises(ValueError, match=r"cannot become .*: give a finite number"):
        worker.set_loss_coefficients(*wanted)
    assert _config(worker) is config


def test_a_loss_without_a_kl_term_has_no_coefficient_to_move() -> None:
    worker = _worker(use_kl_loss=False)
    with pytest.raises(ValueError, match="add kl_control=fixed or kl_control=adaptive"):
        worker.set_loss_coefficients(0.2, None)
    assert worker.set_loss_coefficients(None, 0.3).entropy == 0.3


@pytest.mark.parametrize(
    "call",
    [
        lambda worker: worker.reset_reference(reset_optimizer=True),
        lambda worker: worker.reference_checksum(),
        lambda worker: worker.save_reference("nowhere"),
        lambda worker: worker.load_reference("nowhere"),
    ],
)
def test_a_worker_without_a_reference_of_its_own_says_so(call: Any) -> None:
    """With an adapter, verl has none: the reference is the actor without it."""
    worker = object.__new__(GateWorker)
    moments = {"weight": "moments"}
    optimizer = SimpleNamespace(state=moments)
    worker.ref, worker.actor = (
        None,
        SimpleNamespace(engine=SimpleNamespace(module=None, optimizer=optimizer)),
    )
    with pytest.raises(ValueError, match="no reference policy of its own") as refusal:
        call(worker)
    assert "\n" not in str(refusal.value)
    assert moments == {"weight": "moments"}
