"""The proofs of the stacks hold for rows that show the method and fail for rows that do not."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def stacks():
    spec = importlib.util.spec_from_file_location("stacks", ROOT / "scripts" / "stacks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _row(step: int, **more: float) -> dict[str, float]:
    return {
        "step": step,
        "logprob_gap/max": 1e-5,
        "rollout/interrupted": 3,
        "staleness/segments_per_sample": 1.5,
        "cppo/kept_fraction": 0.5,
        "cppo/zero_variance_groups": 0,
        "update/tokens": 10,
        "tokens/trained": 10,
        "filter/groups_filtered": 1,
        "filter/kept_without_spread": 0,
        "reward/length_penalty": 0.1,
        "update/kl_coefficient": 0.01 * 0.9**step,
        "prorl/kl_divergence": 0.0 if step % 2 else 0.1,
        "prorl/reset": 1 - step % 2,
        "prorl/reset_count": step // 2,
        **more,
    }


def _rows(**more: float) -> list[dict[str, float]]:
    return [_row(step, **more) for step in range(1, 9)]


NOT_SHOWN = [
    ("TRAINED", {"logprob_gap/max": 0.1}),
    ("TRAINED", {"logprob_gap/max": 0.0}),
    ("COPRIS", {"rollout/interrupted": 0}),
    ("COPRIS", {"staleness/segments_per_sample": 1.0}),
    ("CPPO", {"cppo/kept_fraction": 1.0}),
    ("CPPO", {"update/tokens": 20}),
    ("DAPO", {"filter/groups_filtered": 0}),
    ("DAPO", {"reward/length_penalty": 0}),
    ("PRORL", {"update/kl_coefficient": 0.01}),
    ("PRORL", {"prorl/reset_count": 0}),
    ("PRORL", {"prorl/kl_divergence": 0.1}),
    ("BOTH", {"cppo/zero_variance_groups": 1}),
    ("FILTER_ALONE", {"filter/groups_filtered": 0}),
]


@pytest.mark.parametrize(("proof", "missing"), NOT_SHOWN)
def test_a_proof_fails_without_what_it_proves(stacks, proof, missing) -> None:
    holds = getattr(stacks, proof).holds
    assert holds(_rows())
    assert not holds(_rows(**missing))


def test_a_run_that_lost_a_step_is_not_trained(stacks) -> None:
    assert not stacks.TRAINED.holds(_rows()[:-1])
    assert not stacks.TRAINED.holds([*_rows()[:4], *_rows()[3:]])


def test_every_stack_is_an_experiment_and_proves_each_of_its_methods(stacks) -> None:
    for name, (_, proofs) in stacks.STACKS.items():
        assert (ROOT / "configs" / "experiment" / f"{name}.yaml").exists()
        parts = set(name.split("_"))
        for method, proof in (
            ("copris", stacks.COPRIS),
            ("cppo", stacks.CPPO),
            ("dapo", stacks.DAPO),
            ("prorl", stacks.PRORL),
        ):
            assert (proof in proofs) == (method in parts), name


def test_an_unknown_stack_is_refused(stacks, capsys) -> None:
    with pytest.raises(SystemExit):
        stacks.main(["copris_rlhf"])
    assert "no stack copris_rlhf: choose among grpo" in capsys.readouterr().err
