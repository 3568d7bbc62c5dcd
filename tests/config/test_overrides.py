"""Nothing on the command line passes unread: a typo ends the run with one line."""

import pytest

pytestmark = pytest.mark.verl

LR = "actor_rollout_ref.actor.optim.lr"
VLLM = "actor_rollout_ref.rollout.engine_kwargs.vllm"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (f"{LR}r=1", f"unknown key {LR}r: did you mean {LR}?"),
        (f"+{LR}r=1", f"unknown key {LR}r: did you mean {LR}?"),
        (f"++{LR}r=1", f"unknown key {LR}r: did you mean {LR}?"),
        (
            "strategy.concurency=8",
            "unknown key strategy.concurency: did you mean strategy.concurrency?",
        ),
        ("concurrency=8", "unknown key concurrency: did you mean strategy.concurrency?"),
        ("stratgy=copris", "unknown key stratgy: did you mean strategy?"),
        ("+typo=1", "unknown key typo: remove it; see `copris check --help`"),
        ("+trainer.typo=1", "unknown key trainer.typo"),
        ("actor_rollout_ref.actor={optim:{lrr:1}}", f"unknown key {LR}r: did you mean {LR}?"),
        (
            "strategy=coprs",
            "strategy=coprs is unknown: use one of copris, naive_partial, oversample, sync",
        ),
        (
            "experiment=coprs",
            "experiment=coprs is unknown: use one of copris, copris_cppo, copris_cppo_prorl_dapo",
        ),
        (
            "+experiment=copris",
            "+experiment=copris: experiment is known, write it without +",
        ),
        ("+seed=1", "+seed=1: seed is known, write it without +"),
        ("~seed", "~seed: nothing can be deleted; set the key to null"),
        ("seed=1,2", "seed=1,2: one run takes one value; start a run for each"),
        ("seed", "cannot read 'seed': write key=value, without spaces"),
        (
            "trainer=1",
            "trainer is a section: set a key below it, such as trainer.balance_batch=...",
        ),
        (f"{VLLM}.x=1", f"{VLLM}.x is not set yet: write +{VLLM}.x=1"),
        (
            "actor_rollout_ref.rollout.repetition_penalty=1.1",
            "actor_rollout_ref.rollout.repetition_penalty is not set yet: write "
            "+actor_rollout_ref.rollout.repetition_penalty=1.1",
        ),
        ("hydra.verbose=true", "hydra.verbose=true: of Hydra's own keys only hydra.searchpath"),
        ("hydra.searchpath=x", "hydra.searchpath takes a list: hydra.searchpath=[file://FOLDER]"),
    ],
)
def test_an_override_that_names_nothing_is_refused_with_the_mend(override, line):
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.overrides import compose

    with pytest.raises(ConfigError) as refusal:
        compose([override])
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        (f"{LR}=0.5", LR, 0.5),
        ("++seed=3", "seed", 3),
        (f"+{VLLM}.max_logprobs=1", f"{VLLM}.max_logprobs", 1),
        (f"+{VLLM}={{max_logprobs:1}}", f"{VLLM}.max_logprobs", 1),
        ("+actor_rollout_ref.rollout.repetition_penalty=1.1",
         "actor_rollout_ref.rollout.repetition_penalty", 1.1),
        ("+ray_kwargs.ray_init.local_mode=true", "ray_kwargs.ray_init.local_mode", True),
        ("actor_rollout_ref.actor={optim:{lr:0.5}}", LR, 0.5),
        ("trainer.logger=[console,tensorboard]", "trainer.logger", ["console", "tensorboard"]),
        ("model_engine=dp", "actor_rollout_ref.actor.strategy", "fsdp2"),
    ],
)  # fmt: skip
def test_an_override_that_names_something_is_taken(override, key, value):
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.overrides import compose

    assert OmegaConf.select(compose([override]), key) == value


def test_an_open_section_keeps_what_our_files_set_there():
    from copris_core.verl_adapter.overrides import compose

    vllm = compose([f"+{VLLM}={{max_logprobs:1}}"]).actor_rollout_ref.rollout.engine_kwargs.vllm
    assert vllm.kv_cache_memory_bytes == 512 * 2**20


def test_the_command_line_beats_the_experiment_and_the_experiment_the_files():
    from copris_core.verl_adapter.overrides import compose

    cfg = compose(["strategy.concurrency=3", "experiment=copris", "experiment_name=mine"])
    assert (cfg.strategy.name, cfg.strategy.concurrency) == ("copris", 3)
    assert cfg.experiment_name == "mine"


def test_experiments_may_lie_in_a_folder_of_the_users(tmp_path):
    from copris_core.verl_adapter.overrides import compose

    folder = tmp_path / "it's mine"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /strategy: copris\nexperiment_name: mine\n"
    )
    quoted = str(folder).replace("'", "\\'")
    cfg = compose([f"hydra.searchpath=['file://{quoted}']", "experiment=mine"])
    assert (cfg.experiment_name, cfg.strategy.name) == ("mine", "copris")
    assert cfg.actor_rollout_ref.rollout.n == 8


def test_an_option_of_verls_own_groups_is_checked_by_hydra_in_one_line():
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.overrides import compose

    with pytest.raises(ConfigError) as refusal:
        compose(["actor@actor_rollout_ref.actor=typo"])
    assert str(refusal.value) == (
        "In 'ppo_trainer': Could not find 'actor/typo' Available options in 'actor': "
        "actor dp_actor megatron_actor torchtitan_actor veomni_actor"
    )
