"""A reset of a reference policy that is not there, or cannot be reset, is refused beforehand."""

import pytest
from omegaconf import OmegaConf

from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.reference_check import refuse_reference_reset

pytestmark = pytest.mark.verl


def _cfg(*overrides: str):
    base = {
        "algorithm": {"use_kl_in_reward": False},
        "actor_rollout_ref": {
            "model": {"lora_rank": 0, "lora": {"rank": 0}, "lora_adapter_path": None},
            "actor": {
                "use_kl_loss": True,
                "strategy": "fsdp2",
                "fsdp_config": {"fsdp_size": -1},
            },
            "ref": {
                "strategy": "${actor_rollout_ref.actor.strategy}",
                "fsdp_config": {"fsdp_size": -1},
            },
        },
    }
    return OmegaConf.merge(base, OmegaConf.from_dotlist(list(overrides)))


@pytest.mark.parametrize(
    ("overrides", "mend"),
    [
        (["model.lora_rank=8"], "actor_rollout_ref.model.lora_rank=0"),
        (["model.lora.rank=8"], "actor_rollout_ref.model.lora.rank=0"),
        (["model.lora_adapter_path=adapter"], "actor_rollout_ref.model.lora_adapter_path=null"),
        (["actor.use_kl_loss=false"], "add kl_control=fixed or kl_control=adaptive"),
        (["actor.strategy=fsdp"], "set actor_rollout_ref.actor.strategy=fsdp2"),
        (["ref.strategy=megatron"], "set actor_rollout_ref.ref.strategy=fsdp2"),
        (["actor.fsdp_config.fsdp_size=4"], "actor_rollout_ref.ref.fsdp_config.fsdp_size=4"),
    ],
)
def test_a_reset_that_would_do_nothing_or_fail_names_its_mend(overrides, mend):
    with pytest.raises(ConfigError) as refusal:
        refuse_reference_reset(_cfg(*(f"actor_rollout_ref.{each}" for each in overrides)))
    assert mend in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["actor_rollout_ref.actor.use_kl_loss=false", "algorithm.use_kl_in_reward=true"],
        [f"actor_rollout_ref.{role}.fsdp_config.fsdp_size=2" for role in ("actor", "ref")],
    ],
)
def test_a_reference_of_its_own_under_fsdp2_is_welcome(overrides):
    refuse_reference_reset(_cfg(*overrides))
