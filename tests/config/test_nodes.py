"""Several machines: what is refused before anything starts, and what is said."""

import pytest

pytestmark = pytest.mark.verl

JOINS = ("experiment=copris", "platform.ray_address=10.0.0.1:6379", "platform.nodes=2")


def _checked(entered, *overrides: str) -> list[str]:
    from copris_core.verl_adapter.check import check

    cfg, run = entered(*overrides)
    return check(run, cfg)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["platform.nodes=2"], "platform.nodes=2 needs a Ray cluster: run `ray start`"),
        (["platform.nodes=0"], "platform.nodes=0: set it to 1 or more"),
        (["platform.ray_address=ray://head:10001"], "ray://head:10001 is no address"),
        (["platform.ray_address=head"], "use auto or HOST:PORT"),
        (["+ray_kwargs.ray_init.address=auto"], "use platform.ray_address=auto"),
    ],
)
def test_what_cannot_be_joined_is_refused_in_one_line(entered, overrides, why):
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError) as refusal:
        _checked(entered, *overrides)

    assert why in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("address", ["auto", "head-1.cluster:6379", "127.0.0.1:6379", "[::1]:6379"])
def test_an_address_of_rays_own_form_is_taken(entered, address):
    _, run = entered(f'platform.ray_address="{address}"')

    assert run.platform.ray_address == address


def test_nodes_multiply_the_ranks_and_reach_verl(entered):
    cfg, run = entered(*JOINS, "platform.devices=4")

    assert run.plan.devices == 8
    assert (cfg.trainer.nnodes, cfg.trainer.n_gpus_per_node) == (2, 4)


def test_check_says_what_the_machines_must_share(entered):
    lines = _checked(entered, *JOINS, "run.dir=shared/run")

    (note,) = [line for line in lines if "joins the Ray cluster" in line]
    assert "shared/run" in note
    assert any("platform cpu x 1 on each of 2 nodes" in line for line in lines)


def test_a_run_goes_on_in_another_cluster():
    from copris_core.verl_adapter.resume import MAY_CHANGE

    assert "platform.ray_address".startswith(MAY_CHANGE)
    assert not "platform.nodes".startswith(MAY_CHANGE)
