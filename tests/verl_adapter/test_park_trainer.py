"""When the trainer parks, aborts, and sends everybody back."""

from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from copris_core.verl_adapter import gate_trainer
from copris_core.verl_adapter.gate_trainer import GateTrainer
from copris_core.verl_adapter.trainer import RecipeTrainer

pytestmark = pytest.mark.verl


class _Told:
    """Notes what is called on it."""

    def __init__(self, calls: list[str], name: str) -> None:
        self._calls, self._name = calls, name

    def __getattr__(self, method: str) -> Any:
        def called(*given: Any, **named: Any) -> None:
            self._calls.append(f"{self._name}.{method}{list(named.values()) or ''}")

        called.remote = called
        return called


def _trainer(monkeypatch: pytest.MonkeyPatch, *, parks: bool) -> tuple[GateTrainer, list[str]]:
    calls: list[str] = []
    monkeypatch.setattr(gate_trainer.ray, "get", lambda answer: answer)
    monkeypatch.setattr(GateTrainer, "gate", _Told(calls, "gate"))
    monkeypatch.setattr(RecipeTrainer, "on_validate_begin", lambda self: calls.append("verl's"))
    trainer = object.__new__(GateTrainer)
    trainer.config = OmegaConf.create({"strategy": {"park": parks}})
    trainer.global_steps, trainer.timing_raw = 3, {}
    trainer.record = SimpleNamespace(phase=lambda *_, **__: None)
    trainer.checkpoint_manager = _Told(calls, "engines")
    return trainer, calls


@pytest.mark.parametrize(
    ("parks", "expected"),
    [
        (True, ["gate.park", "gate.drained", "gate.end_stage"]),
        (
            False,
            [
                "engines.abort_replicas[True]",
                "gate.drained",
                "gate.end_stage",
                "engines.sleep_replicas",
            ],
        ),
    ],
)
def test_a_stage_ends_by_parking_or_by_aborting(monkeypatch, parks, expected) -> None:
    trainer, calls = _trainer(monkeypatch, parks=parks)
    monkeypatch.setattr(
        gate_trainer.ray,
        "get",
        lambda answer: ({"rollout/limit": 8}, []) if "end" in calls[-1] else None,
    )
    trainer._row, told = {}, []
    trainer.tell = told.extend
    trainer._stop()
    trainer.on_sample_end()
    assert calls == expected
    assert trainer._row == {"rollout/limit": 8}


@pytest.mark.parametrize(
    ("parks", "expected"),
    [
        (True, ["engines.update_weights"]),  # the gate lets them run
        (False, ["engines.update_weights", "engines.resume_generation_replicas"]),
    ],
)
def test_after_an_update_parked_engines_wait_for_the_gate(monkeypatch, parks, expected) -> None:
    trainer, calls = _trainer(monkeypatch, parks=parks)
    trainer.on_step_end()
    assert calls == expected


@pytest.mark.parametrize(
    ("parks", "expected"), [(True, ["verl's", "gate.unpark"]), (False, ["verl's"])]
)
def test_validation_has_the_engines_to_itself(monkeypatch, parks, expected) -> None:
    trainer, calls = _trainer(monkeypatch, parks=parks)
    trainer.on_validate_begin()
    assert calls == expected


def test_a_checkpoint_takes_what_is_parked_too(monkeypatch) -> None:
    trainer, calls = _trainer(monkeypatch, parks=True)
    monkeypatch.setattr(GateTrainer, "_unfinished", lambda self: calls.append("unfinished") or [])
    monkeypatch.setattr(gate_trainer, "reconciled", lambda **_: "store")
    trainer.tell = lambda facts: None
    assert trainer.partial_store() == "store"
    assert calls[:3] == ["gate.unpark", "unfinished", "gate.snapshot"]
