"""The kills of scripts/chaos.py are drawn fairly, and judged by all that they must leave behind."""

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "chaos.py"


@pytest.fixture(scope="module")
def chaos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chaos", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_equal_seeds_draw_equal_kills_and_others_draw_others(chaos):
    assert list(chaos.plans(30, 1)) == list(chaos.plans(30, 1))
    assert list(chaos.plans(30, 1)) != list(chaos.plans(30, 2))


@pytest.mark.parametrize("seed", range(5))
def test_every_round_kills_each_target_once(chaos, seed):
    drawn = [plan.target for plan in chaos.plans(30, seed)]
    for start in range(0, 30, len(chaos.TARGETS)):
        assert sorted(drawn[start : start + len(chaos.TARGETS)]) == sorted(chaos.TARGETS)


def test_thirty_kills_come_in_every_phase(chaos):
    assert {plan.moment for plan in chaos.plans(30, 0)} == set(chaos.MOMENTS)


def _kill(chaos, **changes):
    kill = chaos.Kill(
        target="router",
        phase="saving",
        step=3,
        end_s=5.0,
        code=1,
        message="copris: the router actor died; run the same command again with run.dir=x",
        left=(),
    )
    return dataclasses.replace(kill, **changes)


def test_a_kill_is_clean_when_it_ended_in_time_with_its_line_and_left_nothing(chaos):
    assert _kill(chaos).is_clean
    assert _kill(chaos, target="driver", code=-9).is_clean


@pytest.mark.parametrize(
    "changes",
    [
        {"end_s": 60.1},
        {"code": 0},
        {"code": -9},
        {"target": "driver"},
        {"message": ""},
        {"left": ("/dev/shm/psm_x",)},
    ],
)
def test_a_kill_that_lacks_one_of_these_is_not_clean(chaos, changes):
    assert not _kill(chaos, **changes).is_clean
