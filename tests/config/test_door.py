"""Every option composes; what follows from the choices reaches verl's keys; nothing is changed."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.verl

CONFIGS = Path(__file__).parents[2] / "configs"
EXPERIMENTS = (
    "copris",
    "copris_cppo",
    "copris_cppo_prorl_dapo",
    "copris_dapo",
    "copris_prorl",
    "cppo",
    "cppo_allocated",
    "cppo_dapo",
    "dapo",
    "grpo",
    "naive_partial",
    "oversample",
    "prorl",
    "prorl_tiny",
)
ON_GPUS = (
    "copris_qwen3_8b",
    "copris_r1_1p5b",
    "copris_r1_7b",
    "cppo_gsm8k",
    "cppo_math",
    "grpo_gsm8k",
    "grpo_math",
    "grpo_qwen3_8b",
    "grpo_r1_1p5b",
    "grpo_r1_7b",
    "prorl_qwen_1p5b",
)
GROUPS = {
    "strategy": (
        "copris",
        "naive_partial",
        "oversample",
        "sync",
        "verl_colocate_async",
        "verl_sync",
    ),
    "correction": ("cross_stage", "decoupled", "none", "stage"),
    "pruning": ("cppo", "none"),
    "clip": ("dapo", "prorl", "symmetric"),
    "group_filter": ("dapo", "none"),
    "reward_shaping": ("dapo", "none", "prorl_v2"),
    "kl_control": ("adaptive", "fixed", "none"),
    "reference_reset": ("interval", "none", "prorl_v1", "prorl_v2"),
    "entropy_control": ("none", "trend"),
    "length_schedule": ("cosine", "none", "steps"),
    "platform": ("cpu", "gpu"),
    "policy": (
        "hf",
        "qwen2p5_1p5b_instruct",
        "qwen2p5_7b_instruct",
        "qwen3_8b",
        "r1_1p5b",
        "r1_7b",
        "tiny_days",
        "tiny_prorl",
    ),
    "task": (
        "code",
        "custom",
        "days",
        "file",
        "forced",
        "gsm8k",
        "instruction",
        "logic",
        "math",
        "mix",
        "stem",
        "tiny_mix",
    ),
    "experiment": tuple(sorted((*EXPERIMENTS, *ON_GPUS))),
}
OWN_KEYS = [
    "clip.dual", "clip.high", "clip.low", "clip.name",
    "correction.allow_truncated_sampling", "correction.level", "correction.max_logprob_gap",
    "correction.name", "correction.reject", "correction.reject_above", "correction.threshold",
    "entropy_control.fall_below", "entropy_control.initial", "entropy_control.lower_factor",
    "entropy_control.maximum", "entropy_control.minimum", "entropy_control.name",
    "entropy_control.raise_factor", "entropy_control.rise_above", "entropy_control.window",
    "experiment_name",
    "group_filter.max_batches", "group_filter.name", "group_filter.when_exceeded",
    "kl_control.estimator", "kl_control.initial", "kl_control.lower_below",
    "kl_control.lower_factor", "kl_control.maximum", "kl_control.minimum", "kl_control.name",
    "kl_control.raise_above", "kl_control.raise_factor", "kl_control.target",
    "length_schedule.first_step", "length_schedule.minimum", "length_schedule.name",
    "length_schedule.off_steps", "length_schedule.on_steps", "length_schedule.steps",
    "method.cls", "method.settings",
    "mini_batches",
    "platform.devices", "platform.name", "platform.nodes", "platform.ray_address",
    "policy.name", "policy.path",
    "pruning.allocation", "pruning.name", "pruning.pruning_rate", "pruning.scope",
    "pruning.zero_variance",
    "reference_reset.best_after_reset", "reference_reset.degraded_factor",
    "reference_reset.interval", "reference_reset.kl_above", "reference_reset.min_delta",
    "reference_reset.min_spacing", "reference_reset.name", "reference_reset.reset_optimizer",
    "reference_reset.weights", "reference_reset.window",
    "reward_shaping.cosine_maximum", "reward_shaping.cosine_minimum",
    "reward_shaping.cosine_weight", "reward_shaping.name", "reward_shaping.overlong_penalty",
    "reward_shaping.overlong_share", "reward_shaping.truncated_factor",
    "run.dir", "run.engine_log", "run.record_trajectories", "run.root", "run.weight_sync_timeout_s",
    "seed",
    "staleness.max_lag", "staleness.when_exceeded",
    "strategy.concurrency", "strategy.limit", "strategy.name", "strategy.oversample_factor",
    "strategy.park", "strategy.resume_kv", "strategy.staleness_cap",
    "task.name", "task.rows", "task.seed", "task.val_rows",
]  # fmt: skip
UNDECLARED_BY_VERL = [
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.buffer_dtype",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype",
    "actor_rollout_ref.actor.fsdp_config.mixed_precision.reduce_dtype",
    "actor_rollout_ref.model.override_config.attn_implementation",
    "actor_rollout_ref.ref.fsdp_config.mixed_precision.buffer_dtype",
    "actor_rollout_ref.ref.fsdp_config.mixed_precision.param_dtype",
    "actor_rollout_ref.ref.fsdp_config.mixed_precision.reduce_dtype",
    "actor_rollout_ref.rollout.agent.agent_loop_manager_class",
    "actor_rollout_ref.rollout.custom.resume_kv",
    "actor_rollout_ref.rollout.enable_sleep_mode",
    "actor_rollout_ref.rollout.engine_kwargs.vllm.distributed_executor_backend",
    "actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes",
    "actor_rollout_ref.rollout.engine_kwargs.vllm.stream_interval",
    "actor_rollout_ref.rollout.engine_kwargs.vllm.worker_extension_cls",
    "ray_kwargs.ray_init.include_dashboard",
    "ray_kwargs.ray_init.num_gpus",
]
NEEDED = {
    "interval": ["kl_control=fixed"],
    "prorl_v1": ["kl_control=fixed"],
    "prorl_v2": ["kl_control=fixed"],
    "hf": ["policy.path=somewhere"],
    "verl_sync": ["correction=none"],
    "verl_colocate_async": ["correction=none"],
}


@pytest.fixture(scope="module")
def verls_keys() -> set[str]:
    from hydra import compose, initialize_config_dir

    from copris_core.verl_adapter.overrides import leaves, verl_config_folder

    with initialize_config_dir(str(verl_config_folder()), version_base="1.3"):
        return set(leaves(compose("ppo_trainer")))


def test_the_groups_and_options_are_those_that_are_documented():
    found = {
        folder.name: tuple(sorted(file.stem for file in folder.glob("*.yaml")))
        for folder in CONFIGS.iterdir()
        if folder.is_dir() and folder.name != "__pycache__"
    }
    assert found == GROUPS


def test_our_own_keys_are_those_that_are_documented(entered, verls_keys):
    from copris_core.verl_adapter.overrides import leaves

    ours = set(leaves(entered()[0])) - verls_keys - set(UNDECLARED_BY_VERL)
    assert sorted(ours) == OWN_KEYS


def test_what_we_add_to_verls_sections_is_known(entered, verls_keys):
    from copris_core.verl_adapter.overrides import leaves

    added = set(leaves(entered("experiment=copris")[0])) - verls_keys - set(OWN_KEYS)
    assert sorted(added) == UNDECLARED_BY_VERL


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in GROUPS[group]]
)
def test_every_option_composes_and_names_itself(entered, group, option):
    cfg, run = entered(f"{group}={option}", *NEEDED.get(option, []))
    named = run.experiment_name if group == "experiment" else cfg[group].name
    assert named == {"tiny_mix": "mix"}.get(option, option)


@pytest.mark.parametrize(
    ("experiment", "strategy", "concurrency", "correction", "pruning"),
    [
        ("grpo", "sync", None, "cross_stage", "none"),
        ("copris", "copris", 32, "cross_stage", "none"),
        ("cppo", "sync", None, "cross_stage", "cppo"),
        ("copris_cppo", "copris", 32, "cross_stage", "cppo"),
    ],
)
def test_an_experiment_differs_from_the_baseline_by_its_method_alone(
    entered, experiment, strategy, concurrency, correction, pruning
):
    import dataclasses

    _, run = entered(f"experiment={experiment}")
    assert (run.strategy.name, run.strategy.concurrency) == (strategy, concurrency)
    assert (run.correction.name, run.pruning.name) == (correction, pruning)
    _, baseline = entered("experiment=grpo")
    method = ("experiment_name", "strategy", "pruning", "plan")
    same = {name: getattr(baseline, name) for name in method}
    assert dataclasses.replace(run, **same) == baseline


def test_the_baseline_keeps_the_engine_settings_of_the_method(entered):
    from omegaconf import OmegaConf

    def engine(experiment: str) -> dict:
        cfg, _ = entered(f"experiment={experiment}", "experiment_name=x")
        section = OmegaConf.to_container(cfg.actor_rollout_ref, resolve=True)
        del section["rollout"]["agent"]["agent_loop_manager_class"], section["rollout"]["custom"]
        return section

    assert engine("grpo") == engine("copris")


def test_what_follows_from_the_choices_reaches_verls_keys(entered):
    cfg, run = entered("experiment=copris_cppo", "clip=dapo", "seed=5")
    actor, rollout = cfg.actor_rollout_ref.actor, cfg.actor_rollout_ref.rollout
    # 32 rows, half pruned, 2 mini-batches: 8 rows = 1 group of 8.
    assert actor.ppo_mini_batch_size == 1
    assert (actor.clip_ratio, actor.clip_ratio_low, actor.clip_ratio_high) == (0.2, 0.2, 0.28)
    assert actor.clip_ratio_c == 10.0
    assert rollout.max_model_len == cfg.data.max_prompt_length + cfg.data.max_response_length
    assert cfg.actor_rollout_ref.model.path == cfg.policy.path == str(run.policy.path)
    seeds = (cfg.data.seed, rollout.seed, actor.data_loader_seed, actor.fsdp_config.seed)
    assert seeds == (5, 5, 5, 5)
    assert cfg.trainer.experiment_name == "copris_cppo"
    assert cfg.trainer.test_freq == cfg.trainer.total_training_steps == 20
    assert cfg.algorithm.rollout_correction.bypass_mode is True


def test_the_ablation_recomputes_the_old_log_probs(entered):
    cfg, _ = entered("experiment=copris", "correction=none")
    assert cfg.algorithm.rollout_correction.bypass_mode is False


@pytest.mark.parametrize(
    ("correction", "bypass"),
    [("none", False), ("cross_stage", True), ("stage", True), ("decoupled", False)],
)
def test_verl_is_told_of_the_correction_by_one_key_alone(entered, correction, bypass):
    cfg, _ = entered("experiment=copris", f"correction={correction}", "correction.reject=none")
    theirs = cfg.algorithm.rollout_correction
    assert theirs.bypass_mode is bypass
    assert (theirs.rollout_is, theirs.rollout_rs) == (None, None)


@pytest.mark.parametrize("key", ["rollout_is=token", "bypass_mode=true", "rollout_rs=token_k1"])
def test_verls_own_correction_is_left_to_the_group(entered, key):
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(
        ConfigError, match=rf"rollout_correction\.{key.split('=')[0]}=.* is left to"
    ):
        entered(f"algorithm.rollout_correction.{key}")


def test_allocation_draws_more_prompts_and_trains_as_many_rows(entered):
    cfg, run = entered("experiment=cppo", "pruning.allocation=true", "pruning.pruning_rate=0.75")
    assert cfg.data.train_batch_size == run.plan.prompts == 16
    assert cfg.actor_rollout_ref.actor.ppo_mini_batch_size == 2


def test_a_pruning_rate_may_be_a_fraction(entered):
    _, run = entered("experiment=cppo", "pruning.pruning_rate=3/4", "mini_batches=1")
    assert run.plan.trained_rows == 8


def test_micro_batches_shrink_to_what_divides_a_devices_share(entered):
    # 6 prompts x 8 / 2 mini-batches = 24 rows: 16 does not divide them, 12 does.
    sizes = [
        f"actor_rollout_ref.{key}=16"
        for key in (
            "actor.ppo_micro_batch_size_per_gpu",
            "ref.log_prob_micro_batch_size_per_gpu",
            "rollout.log_prob_micro_batch_size_per_gpu",
        )
    ]
    cfg, _ = entered("data.train_batch_size=6", *sizes)
    ref = cfg.actor_rollout_ref
    assert ref.actor.ppo_micro_batch_size_per_gpu == 12
    assert ref.rollout.log_prob_micro_batch_size_per_gpu == 12
    assert ref.ref.log_prob_micro_batch_size_per_gpu == 12


def test_an_engine_takes_every_response_that_the_gate_lets_in(entered):
    cfg, _ = entered("experiment=copris", "strategy.concurrency=500")
    assert cfg.actor_rollout_ref.rollout.max_num_seqs == 500
    assert entered("experiment=copris")[0].actor_rollout_ref.rollout.max_num_seqs == 256


def test_an_explicit_length_limit_is_kept(entered):
    cfg, _ = entered("actor_rollout_ref.rollout.max_model_len=2000")
    assert cfg.actor_rollout_ref.rollout.max_model_len == 2000


def test_devices_reach_ray_and_verl(entered):
    cfg, _ = entered("platform.devices=2")
    assert cfg.trainer.n_gpus_per_node == cfg.ray_kwargs.ray_init.num_gpus == 2
    assert entered("platform=gpu")[1].platform.devices == 8


def test_the_packaged_checkpoint_is_found_and_a_given_folder_made_absolute(entered):
    assert (entered()[1].policy.path / "config.json").is_file()
    path = entered("policy=hf", "policy.path=somewhere")[1].policy.path
    assert path == Path.cwd() / "somewhere"


def test_deriving_changes_nothing_that_it_is_given():
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.door import compose, derive, parse

    cfg = compose(["experiment=cppo", "pruning.allocation=true"])
    before = copy.deepcopy(cfg)
    derived = derive(cfg, parse(cfg))
    assert cfg == before
    assert derived.data.train_batch_size == 8
    assert OmegaConf.is_struct(derived)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["seed=abc"], "seed=abc must be a whole number"),
        (["seed=true"], "seed=True must be a whole number"),
        (["seed=null"], "seed is not set: give it a whole number"),
        (["seed='${nope}'"], "seed: Interpolation key 'nope' not found"),
        (["clip.low=low"], "clip.low=low must be a number"),
        (["clip.low=2"], "clip low=2 must lie in (0, 1); PPO uses 0.2"),
        (["clip.high=null"], "clip.low and clip.high are needed: PPO uses 0.2 for both"),
        (["run.record_trajectories=7"], "run.record_trajectories=7 must be true or false"),
        (["policy=hf"], "policy=hf needs policy.path=FOLDER with config.json and weights"),
        (
            ["pruning.scope=group"],
            "pruning.scope needs pruning=cppo: add it, or remove it",
        ),
        (
            ["pruning=cppo", "pruning.pruning_rate=1"],
            "pruning.pruning_rate=1 must lie in [0, 1): it is the share removed",
        ),
        (
            ["actor_rollout_ref.rollout.n=0"],
            "data.train_batch_size=4, actor_rollout_ref.rollout.n=0: set both to 1 or more",
        ),
        (
            ["strategy=copris", "strategy.concurrency=0"],
            "strategy.concurrency=0 samples nothing: set it to 1 or more",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(overrides, line):
    from copris_core.verl_adapter.door import enter
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError) as refusal:
        enter(overrides)
    assert str(refusal.value) == line


def test_the_door_and_the_check_leave_verl_unimported():
    # verl's first import fixes the platform, which is known only behind the door.
    code = (
        "import sys\n"
        "from copris_core.verl_adapter.check import check\n"
        "from copris_core.verl_adapter.door import enter\n"
        "cfg, run = enter(['experiment=copris'])\n"
        "check(run, cfg)\n"
        "sys.exit(bool({'verl', 'ray', 'vllm', 'transformers'} & sys.modules.keys()))\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
