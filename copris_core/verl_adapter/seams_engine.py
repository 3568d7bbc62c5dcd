"""Seams of vLLM and Ray, of which several versions are used: names alone. See ``seams.py``."""

from copris_core.verl_adapter.seams import Seam

ENGINE_SEAMS = (
    Seam(
        name="vllm.v1.engine.FinishReason",
        why="the answer of a request that was cut off",
        files=("replica.py", "keep.py"),
        attributes=("ABORT",),
    ),
    Seam(
        name="vllm.v1.engine.async_llm.AsyncLLM",
        why="requests are stopped, kept and read on",
        files=("keep.py", "parking.py", "replica.py"),
        code={
            "generate": ("prompt sampling_params request_id", ""),
            "abort": ("request_id", ""),
            "pause_generation": ("mode clear_cache", ""),
            "resume_generation": ("", ""),
        },
        attributes=("engine_core", "output_processor", "logger_manager", "errored"),
    ),
    Seam(
        name="vllm.v1.engine.core_client.AsyncMPClient",
        why="its scheduler stops while requests stay; outputs under way are waited for",
        files=("parking.py", "keep.py"),
        code={
            "pause_scheduler_async": ("mode clear_cache", ""),
        },
        attributes=("outputs_queue",),
    ),
    Seam(
        name="vllm.v1.engine.output_processor.OutputProcessor",
        why="who is in the engine",
        files=("keep.py", "parking.py", "engine_stats.py"),
        attributes=("request_states",),
    ),
    Seam(
        name="vllm.v1.engine.output_processor.RequestState",
        why="what a request has so far",
        files=("keep.py", "parking.py"),
        code={
            "make_request_output": ("new_token_ids pooling_output finish_reason stop_reason", ""),
        },
        attributes=("external_req_id", "detokenizer"),
    ),
    Seam(
        name="vllm.v1.engine.detokenizer.IncrementalDetokenizer",
        why="how many tokens a request has",
        files=("parking.py",),
        code={
            "num_output_tokens": ("", ""),
        },
    ),
    Seam(
        name="vllm.v1.metrics.loggers.StatLoggerBase",
        why="the interface of what remembers the engine's numbers",
        files=("engine_stats.py",),
        code={
            "record": ("scheduler_stats iteration_stats mm_cache_stats engine_idx", ""),
            "log": ("", ""),
            "log_engine_initialized": ("", ""),
            "record_sleep_state": ("", ""),
        },
    ),
    Seam(
        name="vllm.v1.metrics.loggers.StatLoggerManager",
        why="whose loggers ours takes the place of",
        files=("engine_stats.py",),
        attributes=("stat_loggers",),
    ),
    Seam(
        name="vllm.v1.metrics.stats.SchedulerStats",
        why="load and memory of an engine",
        files=("engine_stats.py",),
        attributes=(
            "num_running_reqs",
            "num_waiting_reqs",
            "num_skipped_waiting_reqs",
            "kv_cache_usage",
        ),
    ),
    Seam(
        name="vllm.v1.metrics.stats.IterationStats",
        why="what an iteration came to",
        files=("engine_stats.py",),
        attributes=("num_preempted_reqs", "num_generation_tokens", "prompt_token_stats"),
    ),
    Seam(
        name="vllm.v1.core.sched.output.SchedulerOutput",
        why="what an iteration computes",
        files=("engine_log.py",),
        attributes=("scheduled_new_reqs", "num_scheduled_tokens", "total_num_scheduled_tokens"),
    ),
    Seam(
        name="vllm.v1.core.sched.output.NewRequestData",
        why="what an iteration computes",
        files=("engine_log.py",),
        attributes=("req_id", "num_computed_tokens", "prompt_token_ids"),
    ),
    Seam(
        name="vllm.v1.worker.gpu_worker.Worker",
        why="every iteration passes these two",
        files=("engine_log.py",),
        code={
            "execute_model": ("scheduler_output", ""),
            "sample_tokens": ("", ""),
        },
    ),
    Seam(
        name="vllm.model_executor.layers.linear.LinearBase",
        why="the opt-out by which linears of a CPU take new weights",
        files=("vllm_cpu.py",),
    ),
    Seam(
        name="vllm.model_executor.kernels.linear.scaled_mm.cpu",
        why="the opt-out by which linears of a CPU take new weights",
        files=("vllm_cpu.py",),
        literals=("_cpu_skip_gemm_dispatch",),
    ),
    Seam(
        name="ray.actor.ActorClass",
        why="the plain class of an actor can be subclassed",
        files=("agent_loop.py", "task_runner.py"),
        attributes=("__ray_metadata__", "remote", "options"),
    ),
    Seam(
        name="ray.exceptions",
        why="what a death looks like",
        files=("watchdog.py", "launch.py", "failure.py"),
        attributes=("RayError", "ActorUnavailableError", "ActorDiedError", "RayTaskError"),
    ),
)
