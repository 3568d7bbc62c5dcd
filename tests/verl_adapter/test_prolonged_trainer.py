"""The trainer measures what the controllers decide by, and carries out what they order."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transfer_queue as tq
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta

from copris_core.controllers.adaptive_kl import AdaptiveKL, AdaptiveKLConfig
from copris_core.controllers.entropy import EntropyConfig, EntropyControl
from copris_core.controllers.length_schedule import Steps
from copris_core.controllers.prolonged import Prolonged
from copris_core.controllers.reference_reset import ReferenceReset, ResetConfig
from copris_core.controllers.validation_watch import ValidationTrigger
from copris_core.verl_adapter.durable_trainer import DurableTrainer
from copris_core.verl_adapter.prolonged_trainer import ProlongedTrainer
from copris_core.verl_adapter.records import RESETS_FILE, RunRecord
from tests.verl_adapter.local_queue import LocalQueue

pytestmark = pytest.mark.verl

INITIAL, RAISED = 0.01, 0.012
STALLED = ValidationTrigger(window=1, degraded_factor=None, min_delta=0.0)


class _Workers:
    """Notes what is asked of the actors, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def set_loss_coefficients(self, *, kl: float | None, entropy: float | None) -> None:
        self.calls.append(("coefficients", kl, entropy))

    def reset_reference(self, reset_optimizer: bool) -> None:
        self.calls.append(("reset", reset_optimizer))

    def save_reference(self, folder: str) -> None:
        self.calls.append(("save", folder))

    def load_reference(self, folder: str) -> None:
        self.calls.append(("load", folder))


class _Trainer(ProlongedTrainer):
    """Says nothing of how responses are sampled, which verl leaves open."""

    def on_sample_end(self) -> None:
        raise NotImplementedError

    def on_step_end(self) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """What verl and the trainer below do at these points."""
    monkeypatch.setattr(DurableTrainer, "_update_actor", lambda self, batch, metrics: batch)
    monkeypatch.setattr(DurableTrainer, "_save_ours", lambda self, folder: None)
    monkeypatch.setattr(DurableTrainer, "_take_up", _take_up_state)


def _take_up_state(self: Any, folder: Path) -> None:
    self.load_state_of_ours(json.loads((folder / "state.json").read_text()))


def _trainer(folder: Path, *, prolonged: Prolonged | None, step: int = 1) -> Any:
    """One without verl's own construction."""
    made = object.__new__(_Trainer)
    made.config = OmegaConf.create({"run": {"dir": str(folder)}})
    made.prolonged, made.methods = prolonged, []
    made.actor_rollout_wg = _Workers()
    made.record = RunRecord(folder, 0.0)
    made.global_steps = step
    made._validation, made._row = {}, {}
    return made


def _batch(queue: LocalQueue) -> KVBatchMeta:
    """Two responses, of 2 and 1 tokens, and a row that verl made up."""
    queue.add(
        "a_0_0",
        rollout_log_probs=[-1.0, -2.0, -9.0],
        response_mask=[1, 1, 0],
    )
    queue.add(
        "b_0_0",
        rollout_log_probs=[-3.0],
        response_mask=[1],
    )
    queue.add(
        "pad",
        rollout_log_probs=[-90.0],
        response_mask=[1],
    )
    tags = queue.tags["train"]
    tags["a_0_0"]["response_len"], tags["b_0_0"]["response_len"] = 2, 1
    tags["pad"]["is_padding"] = True
    return queue.batch("a_0_0", "b_0_0", "pad")


def _adaptive(**parts: Any) -> Prolonged:
    """KL of the batch is far above this target."""
    return Prolonged(kl=AdaptiveKL(AdaptiveKLConfig(initial=INITIAL, target=0.05)), **parts)


def _interval(interval: int, *, reset_optimizer: bool = False) -> ReferenceReset:
    return ReferenceReset(ResetConfig(interval=interval, reset_optimizer=reset_optimizer))


def _update(trainer: Any, batch: KVBatchMeta) -> None:
    """One step, far from the reference."""
    trainer._update_actor(batch, {"actor/kl_loss": 0.9})


def _validate(trainer: Any, **accuracy: float) -> None:
    """By domain; as ``validate`` names its metrics."""
    trainer._validation = {"val/accuracy": 0.5, "val/blended": 0.5}
    for domain, value in accuracy.items():
        trainer._validation |= {f"val/{domain}/accuracy": value, f"val/{domain}/pass@2": 1.0}
    trainer.on_validate_end()


def _resets(folder: Path) -> list[dict[str, Any]]:
    path = folder / RESETS_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# ---- what is measured ----


def test_kl_is_what_the_actor_measured_in_its_loss(tmp_path, monkeypatch) -> None:
    trainer = _trainer(tmp_path, prolonged=_adaptive())
    trainer._update_actor(_batch(LocalQueue(monkeypatch)), {"actor/kl_loss": 0.07})
    assert trainer._row["prorl/kl_divergence"] == 0.07
    trainer = _trainer(tmp_path, prolonged=_adaptive())
    trainer._update_actor(_batch(LocalQueue(monkeypatch)), {})
    assert "prorl/kl_divergence" not in trainer._row


def test_entropy_and_length_are_those_of_the_trained_responses(tmp_path, monkeypatch) -> None:
    trainer = _trainer(tmp_path, prolonged=Prolonged(length=Steps(steps=((1, 8),))))
    trainer._update_actor(_batch(LocalQueue(monkeypatch)), {})
    assert trainer._row == {
        "prorl/entropy": 2.0,  # (1 + 2 + 3) / 3
        "prorl/avg_response_length": 1.5,
        "prorl/response_budget": 8,
    }


# ---- what is carried out ----


def test_the_first_update_has_the_controllers_coefficients(tmp_path) -> None:
    prolonged = _adaptive(entropy=EntropyControl(EntropyConfig(initial=0.02)))
    trainer = _trainer(tmp_path, prolonged=prolonged)
    trainer.on_train_begin()
    assert trainer.actor_rollout_wg.calls == [("coefficients", INITIAL, 0.02)]


def test_what_is_not_controlled_is_left_alone(tmp_path) -> None:
    prolonged = Prolonged(entropy=EntropyControl(EntropyConfig(initial=0.02)))
    trainer = _trainer(tmp_path, prolonged=prolonged)
    trainer.on_train_begin()
    assert trainer.actor_rollout_wg.calls == [("coefficients", None, 0.02)]
    trainer = _trainer(tmp_path, prolonged=Prolonged(length=Steps(steps=((1, 8),))))
    trainer.on_train_begin()
    assert trainer.actor_rollout_wg.calls == []


def test_a_high_kl_raises_the_coefficient_of_the_next_update(tmp_path, monkeypatch) -> None:
    trainer = _trainer(tmp_path, prolonged=_adaptive())
    _update(trainer, _batch(LocalQueue(monkeypatch)))
    assert trainer.actor_rollout_wg.calls == [("coefficients", pytest.approx(RAISED), None)]
    assert trainer._row["prorl/kl_coefficient"] == pytest.approx(RAISED)


@pytest.mark.parametrize("reset_optimizer", [True, False])
def test_the_reference_is_reset_before_the_coefficient_begins_anew(
    reset_optimizer, tmp_path, monkeypatch
) -> None:
    reset = _interval(2, reset_optimizer=reset_optimizer)
    trainer = _trainer(tmp_path, prolonged=_adaptive(reset=reset))
    batch = _batch(LocalQueue(monkeypatch))
    for trainer.global_steps in (1, 2):
        _update(trainer, batch)
    assert trainer.actor_rollout_wg.calls == [
        ("coefficients", pytest.approx(RAISED), None),
        ("reset", reset_optimizer),
        ("coefficients", INITIAL, None),
    ]
    assert [(each["step"], each["reasons"]) for each in _resets(tmp_path)] == [(2, ["interval"])]
    assert trainer._row["prorl/reset_count"] == trainer._row["prorl/reset"] == 1


def test_each_step_begins_with_its_response_budget(tmp_path) -> None:
    trainer = _trainer(tmp_path, prolonged=Prolonged(length=Steps(steps=((1, 8), (3, 16)))))
    told: list[int] = []
    trainer.agent_loop_manager = SimpleNamespace(set_response_budget=told.append)
    for trainer.global_steps in (1, 2, 3):
        trainer.on_step_begin()
    assert told == [8, 8, 16]
    _trainer(tmp_path, prolonged=_adaptive()).on_step_begin()  # nobody is told without a schedule


def test_a_validation_may_reset_the_reference_and_counts_once(tmp_path) -> None:
    trainer = _trainer(
        tmp_path, prolonged=_adaptive(reset=ReferenceReset(ResetConfig(validation=STALLED)))
    )
    for trainer.global_steps, accuracy in ((1, 0.5), (2, 0.75), (3, 0.75)):
        _validate(trainer, days=accuracy, logic=accuracy)
    _validate(trainer, days=0.0, logic=0.0)  # of the same step: no news
    resets = [call for call in trainer.actor_rollout_wg.calls if call[0] == "reset"]
    assert resets == [("reset", False)]
    assert [(each["step"], each["reasons"]) for each in _resets(tmp_path)] == [
        (3, ["validation_stalled"])
    ]
    assert trainer._row["prorl/blended_validation"] == 0.75


def test_a_validation_without_domains_is_no_news(tmp_path) -> None:
    trainer = _trainer(
        tmp_path, prolonged=_adaptive(reset=ReferenceReset(ResetConfig(validation=STALLED)))
    )
    _validate(trainer)
    assert trainer.actor_rollout_wg.calls == []
    assert trainer._row == {}


# ---- across a restart ----


def _saved(trainer: Any, folder: Path) -> Path:
    """A checkpoint of its present step."""
    checkpoint = folder / f"global_step_{trainer.global_steps}"
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text(json.dumps(trainer.state_of_ours()))
    trainer._save_ours(checkpoint)
    return checkpoint


def _of(trainer: Any, *names: str) -> list[tuple[Any, ...]]:
    return [call for call in trainer.actor_rollout_wg.calls if call[0] in names]


def test_the_reference_is_saved_and_loaded_once_it_is_another(tmp_path, monkeypatch) -> None:
    batch = _batch(LocalQueue(monkeypatch))
    trainer = _trainer(tmp_path, prolonged=_adaptive(reset=_interval(2)))
    for trainer.global_steps in (1, 2):
        _update(trainer, batch)
        checkpoint = _saved(trainer, tmp_path)
    assert _of(trainer, "save") == [("save", str(checkpoint / "reference"))]

    early = _trainer(tmp_path, prolonged=_adaptive(reset=_interval(2)), step=1)
    early._take_up(tmp_path / "global_step_1")
    assert early.actor_rollout_wg.calls == []
    late = _trainer(tmp_path, prolonged=_adaptive(reset=_interval(2)), step=2)
    late._take_up(checkpoint)
    assert late.actor_rollout_wg.calls == [("load", str(checkpoint / "reference"))]
    assert late.state_of_ours() == trainer.state_of_ours()


def _watched() -> Prolonged:
    """Resets at the second update, and for a validation that stalls."""
    return _adaptive(reset=ReferenceReset(ResetConfig(interval=2, validation=STALLED)))


def test_a_run_that_resumes_repeats_what_the_validation_after_its_checkpoint_decided(
    tmp_path, monkeypatch
) -> None:
    batch = _batch(LocalQueue(monkeypatch))
    first = _trainer(tmp_path, prolonged=_watched())
    for first.global_steps in (1, 2, 3):
        first._row = {}
        _update(first, batch)
        checkpoint = _saved(first, tmp_path)
        _validate(first, days=0.5)
        first.record.write(first.global_steps, first._row | first._validation)
    reasons = [(2, ["interval"]), (3, ["validation_stalled"])]
    assert [(each["step"], each["reasons"]) for each in _resets(tmp_path)] == reasons

    for _ in range(2):  # it may die again before its next checkpoint
        second = _trainer(tmp_path, prolonged=_watched(), step=3)
        second._take_up(checkpoint)
        assert second.actor_rollout_wg.calls == [
            ("load", str(checkpoint / "reference")),
            ("reset", False),
            ("coefficients", INITIAL, None),
        ]
        assert second.state_of_ours() == first.state_of_ours()
    assert [(each["step"], each["reasons"]) for each in _resets(tmp_path)] == reasons


def test_validations_of_other_steps_are_not_repeated(tmp_path, monkeypatch) -> None:
    batch = _batch(LocalQueue(monkeypatch))
    first = _trainer(tmp_path, prolonged=_watched())
    _update(first, batch)
    checkpoint = _saved(first, tmp_path)
    first.record.write(0, {"val/days/accuracy": 0.5})
    first.record.write(1, {"val/accuracy": 0.5})
    second = _trainer(tmp_path, prolonged=_watched())
    second._take_up(checkpoint)
    assert second.actor_rollout_wg.calls == []
    assert second.state_of_ours() == first.state_of_ours()


# ---- where nothing is chosen ----


def test_without_a_choice_nothing_is_measured_ordered_or_saved(tmp_path, monkeypatch) -> None:
    def refuse(**_: Any) -> None:
        raise AssertionError("a fetch that nobody needs")

    batch = _batch(LocalQueue(monkeypatch))
    monkeypatch.setattr(tq, "kv_batch_get", refuse)
    trainer = _trainer(tmp_path, prolonged=None)
    trainer.on_train_begin()
    trainer.on_step_begin()
    _update(trainer, batch)
    checkpoint = _saved(trainer, tmp_path)
    _validate(trainer, days=0.5)
    trainer.record.write(1, trainer._validation)
    trainer._take_up(checkpoint)
    assert trainer.actor_rollout_wg.calls == []
    assert (trainer._row, trainer.state_of_ours()) == ({}, {"methods": []})
    assert _resets(tmp_path) == []
