"""What an engine says of itself, from what vLLM hands to its loggers."""

from types import SimpleNamespace
from typing import Any

import pytest

from copris_core.verl_adapter.engine_stats import EngineStats, facts_without_stats
from copris_core.verl_adapter.limits import engine_facts

pytestmark = pytest.mark.verl


def _scheduler(running: int, waiting: int = 0, skipped: int = 0, kv: float = 0.0) -> Any:
    return SimpleNamespace(
        num_running_reqs=running,
        num_waiting_reqs=waiting,
        num_skipped_waiting_reqs=skipped,
        kv_cache_usage=kv,
    )


def _step(generated: int, prefilled: int = 0, preempted: int = 0) -> Any:
    return SimpleNamespace(
        num_generation_tokens=generated,
        num_preempted_reqs=preempted,
        prompt_token_stats=SimpleNamespace(computed=prefilled),
    )


def test_loads_are_the_latest_and_counts_add_up() -> None:
    stats = EngineStats()
    stats.record(_scheduler(8, 5, 1, 0.25), _step(0, prefilled=40), mm_cache_stats=None)
    stats.record(_scheduler(9, 2, 1, 0.50), _step(8, preempted=2))
    stats.record(None, _step(9, preempted=1))
    stats.record(_scheduler(7, 3, 1, 0.75), None)

    facts = stats.facts()

    assert facts.pop("time_s") > 0
    assert facts == {
        "running": 7,
        "waiting": 4,
        "kv_cache_use": 0.75,
        "preemptions": 3,
        "generated_tokens": 17,
        "prefilled_tokens": 40,
    }


def test_what_was_thrown_out_on_purpose_is_no_want_of_room() -> None:
    stats = EngineStats()
    stats.forgive(4)
    stats.record(None, _step(8, preempted=3))
    assert stats.facts()["preemptions"] == 0  # the fourth has not been told yet
    stats.record(None, _step(8, preempted=3))
    assert stats.facts()["preemptions"] == 2


def test_the_engines_of_a_replica_are_summed_and_the_fullest_counts() -> None:
    stats = EngineStats()
    stats.record(_scheduler(3, 1, kv=0.5), None, engine_idx=0)
    stats.record(_scheduler(4, kv=0.25), None, engine_idx=1)

    facts = stats.facts()

    assert (facts["running"], facts["waiting"], facts["kv_cache_use"]) == (7, 1, 0.5)


def test_an_engine_that_has_not_begun_reports_zeros_that_the_router_takes() -> None:
    facts = engine_facts([EngineStats().facts(), EngineStats().facts()])

    assert (facts.running, facts.kv_cache_use, facts.prefilled_tokens) == (0, 0.0, 0)


def test_it_takes_the_place_of_the_loggers_that_cost_time() -> None:
    loggers = [object(), object()]
    engine = SimpleNamespace(logger_manager=SimpleNamespace(stat_loggers=loggers))
    stats = EngineStats()

    assert stats.attach(engine)
    assert loggers == [stats]


def test_without_statistics_it_says_what_it_does_not_know() -> None:
    engine = SimpleNamespace(
        logger_manager=None,
        output_processor=SimpleNamespace(request_states={"a": None, "b": None}),
    )

    facts = facts_without_stats(engine)

    assert not EngineStats().attach(engine)
    assert facts["running"] == 2
    unknown = {name for name, value in facts.items() if value is None}
    assert unknown == {
        "waiting",
        "kv_cache_use",
        "preemptions",
        "generated_tokens",
        "prefilled_tokens",
    }
