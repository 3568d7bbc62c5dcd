"""What a vLLM engine says of itself: the numbers behind its metrics page, without the page."""

import time
from typing import Any


class EngineStats:
    """A stat logger of vLLM (``StatLoggerBase``) that remembers instead of logging.

    vLLM's own loggers observe histograms for every request at every step; this one adds up.
    """

    def __init__(self) -> None:
        """Nothing has been reported."""
        self._latest: dict[int, Any] = {}  # scheduler stats by engine of the replica
        self._preemptions = 0
        self._forgiven = 0
        self._generated = 0
        self._prefilled = 0

    def attach(self, engine: Any) -> bool:
        """Take the place of the engine's loggers; False if it keeps no statistics.

        It keeps none with ``rollout.disable_log_stats=true``, verl's default.
        """
        if engine.logger_manager is None:
            return False
        engine.logger_manager.stat_loggers[:] = [self]
        return True

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Take what one engine step came to."""
        if scheduler_stats is not None:
            self._latest[engine_idx] = scheduler_stats
        if iteration_stats is not None:
            self._preemptions += iteration_stats.num_preempted_reqs
            self._generated += iteration_stats.num_generation_tokens
            self._prefilled += iteration_stats.prompt_token_stats.computed

    def forgive(self, requests: int) -> None:
        """So many were thrown out of the KV cache on purpose, not for want of room."""
        self._forgiven += requests

    def log(self) -> None:
        """Part of vLLM's interface."""

    def log_engine_initialized(self) -> None:
        """Part of vLLM's interface."""

    def record_sleep_state(self, *_: Any) -> None:
        """Part of vLLM's interface."""

    def facts(self) -> dict[str, float]:
        """See ``copris_core.rollout.concurrency.EngineFacts``, whose names these are."""
        latest = self._latest.values()
        return {
            "time_s": time.monotonic(),
            "running": sum(stats.num_running_reqs for stats in latest),
            "waiting": sum(s.num_waiting_reqs + s.num_skipped_waiting_reqs for s in latest),
            "kv_cache_use": max((stats.kv_cache_usage for stats in latest), default=0.0),
            "preemptions": max(0, self._preemptions - self._forgiven),
            "generated_tokens": self._generated,
            "prefilled_tokens": self._prefilled,
        }


def facts_without_stats(engine: Any) -> dict[str, float | None]:
    """What is known of an engine that keeps no statistics: how many requests it has."""
    return {
        "time_s": time.monotonic(),
        "running": len(engine.output_processor.request_states),
        "waiting": None,
        "kv_cache_use": None,
        "preemptions": None,
        "generated_tokens": None,
        "prefilled_tokens": None,
    }
