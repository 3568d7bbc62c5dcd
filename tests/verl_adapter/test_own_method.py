"""A user's own method: the one of docs/own_method.md, and what is refused."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, get_policy_loss_fn
from verl.workers.config import ActorConfig

from copris_core.methods import SampledBatch, Selection
from copris_core.verl_adapter.errors import ConfigError, TrainingError
from copris_core.verl_adapter.losses import register_own_loss
from copris_core.verl_adapter.own_method import Checked, OwnMethod, loss_of, own_method
from copris_core.verl_adapter.trainer import methods_of
from tests.docs.pages import python_blocks

pytestmark = pytest.mark.verl

REWARDS = [0.0, 1.0, 0.5, 0.5, 1.0, 1.0, 1.0, 0.0]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The file that the guide shows."""
    (code,) = python_blocks("docs/own_method.md")
    file = tmp_path / "my_method.py"
    file.write_text(code)
    return file


def _own(file: Path, name: str = "MaxVarianceCispo", **settings: Any) -> OwnMethod:
    return OwnMethod(reference=f"{file}:{name}", settings=settings)


def _batch() -> SampledBatch:
    return SampledBatch(
        step=1,
        keys=[f"k{i}" for i in range(8)],
        uids=["a"] * 4 + ["b"] * 4,
        reward_B=torch.tensor(REWARDS),
        length_B=torch.arange(1, 9),
    )


def _actor(loss_mode: str) -> ActorConfig:
    config = ActorConfig(
        strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, policy_loss={"loss_mode": loss_mode}
    )
    config.global_batch_info.update(
        dp_size=1, batch_num_tokens=3, global_batch_size=1, loss_scale_factor=None
    )
    return config


# ---- the guide's example ----


def test_the_guides_method_is_written_in_fifty_lines(example):
    lines = [line for line in example.read_text().split("\n") if line.strip()]
    assert len(lines) <= 50


def test_the_guides_method_keeps_the_rows_whose_rewards_vary_most(example):
    selection = Checked(_own(example, keep=2)).on_batch_sampled(_batch())
    assert {REWARDS[row] for row in selection.kept[:2]} == {0.0, 1.0}
    assert selection.kept[:2] == (0, 1)
    assert 7 in selection.kept[2:]
    assert selection.metrics == {"mine/kept": 0.5}
    assert selection.adv_B.sum().abs() < 1e-6


def test_the_guides_loss_is_cispos_by_hand(example):
    # r = e^0.5 -> 1.28 with A = 2; r = e^-1 with A = 2; masked. loss = -sum(w A logp) / 3 tokens.
    logp = torch.tensor([[-0.5, -2.0, -9.0]], requires_grad=True)
    behaviour = torch.tensor([[-1.0, -1.0, 0.0]])
    mask = torch.tensor([[True, True, False]])
    mode = _own(example).loss_mode
    register_own_loss(mode)
    loss, metrics = get_policy_loss_fn(mode)(
        old_log_prob=behaviour,
        log_prob=logp,
        advantages=torch.full((1, 3), 2.0),
        response_mask=mask.long(),
        loss_agg_mode="token-mean",
        config=_actor(mode),
    )
    loss.backward()
    weights = [1.28 * 2, 0.36788 * 2]
    assert loss.item() == pytest.approx((weights[0] * 0.5 + weights[1] * 2.0) / 3, rel=1e-4)
    assert logp.grad[0].tolist() == pytest.approx([-weights[0] / 3, -weights[1] / 3, 0], rel=1e-4)
    assert metrics == {}


def test_a_weight_of_the_correction_scales_the_loss_and_infinity_outside_the_mask_does_not(example):
    mode = _own(example).loss_mode
    register_own_loss(mode)
    call = partial(
        get_policy_loss_fn(mode),
        old_log_prob=torch.zeros(1, 2),
        log_prob=torch.tensor([[-1.0, -torch.inf]]),
        advantages=torch.ones(1, 2),
        response_mask=torch.tensor([[1, 0]]),
        config=_actor(mode),
    )
    assert call(rollout_is_weights=torch.tensor([[0.5, 9.0]]))[0] == 0.5 * call()[0]


# ---- where it is hooked in ----


def _config(cls: str | None, **settings: Any) -> Any:
    return OmegaConf.create(
        {
            "method": {"cls": cls, "settings": settings},
            "pruning": {
                "name": "cppo",
                "pruning_rate": "0.5",
                "scope": "group",
                "zero_variance": "keep",
            },
            "algorithm": {"norm_adv_by_std_in_grpo": True},
            "seed": 0,
        }
    )


def test_the_trainer_asks_the_users_class_where_it_would_ask_pruning(example):
    (method,) = methods_of(_config(f"{example}:MaxVarianceCispo", keep=1))
    assert method.on_batch_sampled(_batch()).name == "max_variance"
    assert methods_of(_config(None))[0].on_batch_sampled(_batch()).name == "cppo"


def test_a_class_with_a_loss_alone_leaves_pruning_alone(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("class A:\n    def token_loss(self, *tensors):\n        return tensors[0]\n")
    assert methods_of(_config(f"{file}:A"))[0].on_batch_sampled(_batch()).name == "cppo"


def test_its_settings_reach_the_workers_through_the_loss_mode(example):
    own = _own(example, high=9.0)
    assert loss_of(own.loss_mode).__self__.high == 9.0
    assert loss_of("cross_stage") is None


def test_verls_own_losses_are_not_touched():
    before = dict(POLICY_LOSS_REGISTRY)
    register_own_loss("vanilla")
    assert before == POLICY_LOSS_REGISTRY


def test_its_state_is_kept_only_where_it_has_one(example, tmp_path):
    stateless = Checked(_own(example))
    stateless.load_state_dict(stateless.state_dict())
    file = tmp_path / "s.py"
    file.write_text(
        "class A:\n    n = 3\n    def on_batch_sampled(self, batch): ...\n"
        "    def state_dict(self): return {'n': self.n}\n"
        "    def load_state_dict(self, state): self.n = state['n']\n"
    )
    kept = Checked(_own(file, "A"))
    kept.load_state_dict({"n": 7})
    assert kept.state_dict() == {"n": 7}


# ---- what is refused ----


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("None", "no Selection"),
        ("chosen((), [])", "1 or more"),
        ("chosen((1, 0), [0.0, 0.0])", "ascending"),
        ("chosen((0, 0), [0.0, 0.0])", "none twice"),
        ("chosen((0, 8), [0.0, 0.0])", r"keeps rows \[0, 8\] of 8"),
        ("chosen((-1,), [0.0])", "keeps rows"),
        ("chosen((0, 1), [0.0])", r"\(1,\) advantages for 2 kept rows"),
        ("chosen((0,), [float('nan')])", "advantage that is not finite"),
        ("chosen((0,), [0.0], {'x': float('inf')})", "metric x"),
    ],
)
def test_a_choice_that_cannot_be_carried_out_ends_the_run_in_one_line(answer, complaint, tmp_path):
    file = tmp_path / "m.py"
    file.write_text(
        "import torch\nfrom copris_core.methods import Selection\n"
        "def chosen(kept, adv, told={}):\n"
        "    return Selection(name='m', kept=kept, adv_B=torch.tensor(adv), metrics=told)\n"
        f"class A:\n    def on_batch_sampled(self, batch):\n        return {answer}\n"
    )
    with pytest.raises(TrainingError, match=complaint) as told:
        Checked(_own(file, "A")).on_batch_sampled(_batch())
    assert "\n" not in str(told.value)
    assert "docs/own_method.md" in str(told.value)


def test_a_loss_that_is_not_one_for_each_token_ends_the_run_in_one_line(tmp_path):
    file = tmp_path / "m.py"
    file.write_text("class A:\n    def token_loss(self, logp, *rest):\n        return logp.sum()\n")
    mode = _own(file, "A").loss_mode
    register_own_loss(mode)
    zeros = torch.zeros(1, 2)
    with pytest.raises(TrainingError, match=r"token_loss gave a Tensor \(\) where the mask is"):
        get_policy_loss_fn(mode)(zeros, zeros, zeros, zeros + 1, config=_actor(mode))


@pytest.mark.parametrize(
    ("cls", "settings", "complaint"),
    [
        (None, {"keep": 1}, "method.settings.keep needs method.cls"),
        ("nowhere.py:A", {}, "method.cls=nowhere.py:A: no such module, and no file"),
        ("my_method.py", {}, "method.cls='my_method.py' names no class"),
        ("{file}:MaxVariance", {}, "did you mean 'MaxVarianceCispo'"),
        ("{file}:SampledBatch", {}, "has neither on_batch_sampled nor token_loss"),
        ("{file}:MaxVarianceCispo", {"kep": 1}, "can't be built with kep"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused_in_one_line(cls, settings, complaint, example):
    config = _config(cls and cls.format(file=example), **settings)
    with pytest.raises(ConfigError, match=re.escape(complaint)) as told:
        own_method(config)
    assert "\n" not in str(told.value)


def test_a_selection_is_what_the_guide_says():
    assert {"name", "kept", "adv_B", "metrics"} <= Selection.__dataclass_fields__.keys()
