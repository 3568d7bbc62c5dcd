"""Seams of verl's training workers, losses and platforms. See ``seams.py``."""

from copris_core.verl_adapter.seams import Seam

WORKER_SEAMS = (
    Seam(
        name="verl.workers.engine_workers.ActorRolloutRefWorker",
        why="our worker is verl's with a measured actor",
        files=("worker.py",),
        code={
            "__init__": ("self config role distillation_config **kwargs", "bec58c869c"),
            "init_model": ("self", "25664c0264"),
            "compute_log_prob": ("self data", "421f9e3158"),
            "update_actor": ("self data", "08805fadb7"),
        },
        attributes=("actor", "ref", "rollout", "rank", "world_size", "actor_worker_cls"),
    ),
    Seam(
        name="verl.workers.engine_workers.TrainingWorker",
        why="the loss is wrapped, the update is bracketed",
        files=("worker.py",),
        code={
            "set_loss_fn": ("self loss_fn", "3114636074"),
            "train_mini_batch": ("self data", "d681c05037"),
        },
        attributes=("engine", "loss_fn"),
    ),
    Seam(
        name="verl.workers.engine.base.EngineRegistry",
        why="the engine of a CPU",
        files=("engine_cpu.py",),
        code={
            "register": ("cls model_type backend device vendor", "8292c60958"),
            "get_engine_cls": ("cls model_type backend", "5713d1d3f4"),
        },
    ),
    Seam(
        name="verl.workers.engine.fsdp.transformer_impl.FSDPEngineWithLMHead",
        why="the reference policy in plain memory on a CPU",
        files=("engine_cpu.py", "worker.py"),
        code={
            "_build_fsdp_module": ("self module", "e1b5b49e50"),
            "optimizer_step": ("self", "34e7926b33"),
        },
        attributes=("module", "optimizer", "engine_config"),
        literals=("forward_only",),
    ),
    Seam(
        name="verl.workers.utils.losses.ppo_loss",
        why="calls the policy loss and passes it what we measure by",
        files=("worker.py", "losses.py", "loss_cases.py"),
        code={
            "": ("config model_output data dp_group", "2fa5dacc6a"),
        },
        literals=("batch_num_tokens", "rollout_is_weights"),
    ),
    Seam(
        name="verl.trainer.ppo.core_algos.register_policy_loss",
        why="actor.policy_loss.loss_mode finds our loss",
        files=("losses.py",),
        code={
            "": ("name", "954a4bd6cb"),
        },
    ),
    Seam(
        name="verl.trainer.ppo.core_algos.get_policy_loss_fn",
        why="verl's own losses to compare with",
        files=("loss_cases.py",),
        code={
            "": ("name", "f1358989b2"),
        },
    ),
    Seam(
        name="verl.trainer.ppo.core_algos.agg_loss",
        why="verl's global normalisation",
        files=("losses.py",),
        code={
            "": (
                "loss_mat loss_mask loss_agg_mode dp_size batch_num_tokens "
                "global_batch_size loss_scale_factor",
                "de10b50495",
            ),
        },
    ),
    Seam(
        name="verl.trainer.ppo.core_algos.compute_policy_loss_vanilla",
        why="what ours equals on one stage",
        files=("losses.py", "loss_cases.py"),
        code={
            "": (
                "old_log_prob log_prob advantages response_mask loss_agg_mode config "
                "rollout_is_weights",
                "9c2cbdd341",
            ),
        },
        literals=("actor/pg_clipfrac", "actor/ppo_kl", "actor/pg_clipfrac_lower"),
    ),
    Seam(
        name="verl.workers.config.ActorConfig",
        why="the loss reads its bounds and its sizes",
        files=("losses.py", "worker.py"),
        attributes=(
            "clip_ratio_low",
            "clip_ratio_high",
            "clip_ratio_c",
            "global_batch_info",
            "use_kl_loss",
            "kl_loss_coef",
            "entropy_coeff",
        ),
    ),
    Seam(
        name="verl.utils.metric.Metric",
        why="what ranks and micro-batches sum",
        files=("losses.py",),
        code={
            "__init__": ("self aggregation value", "1a90ff428a"),
        },
    ),
    Seam(
        name="verl.single_controller.base.decorator.register",
        why="methods of ours on every rank",
        files=("worker.py",),
        code={
            "": ("dispatch_mode execute_mode blocking materialize_futures", "569f506ca3"),
        },
    ),
    Seam(
        name="verl.single_controller.base.decorator.Dispatch",
        why="methods of ours on every rank",
        files=("worker.py",),
        attributes=("ONE_TO_ALL",),
    ),
    Seam(
        name="verl.single_controller.ray.base.RayWorkerGroup",
        why="the watchdog asks its workers; stages are cut to its ranks",
        files=("watchdog.py", "scoring.py"),
        attributes=("workers", "_dispatch_info"),
    ),
    Seam(
        name="verl.single_controller.base.worker.Worker",
        why="into how many parts verl cuts a batch",
        files=("scoring.py",),
        code={
            "_query_dispatch_info": ("self mesh_name _ray_trace_ctx", "8e4500cd66"),
        },
        attributes=("rank", "world_size"),
    ),
    Seam(
        name="verl.model_merger.fsdp_model_merger.FSDPModelMerger",
        why="a checkpoint becomes a Hugging Face folder",
        files=("eval_merge.py",),
        code={
            "__init__": ("self config", "17c9f43d19"),
            "merge_and_save": ("self", "bbbc83feae"),
        },
    ),
    Seam(
        name="verl.model_merger.base_model_merger.ModelMergerConfig",
        why="a checkpoint becomes a Hugging Face folder",
        files=("eval_merge.py",),
        attributes=("operation", "backend", "local_dir", "target_dir", "hf_model_config_path"),
    ),
    Seam(
        name="verl.utils.hf_tokenizer",
        why="the tokenizer as the agent loops have it",
        files=("eval_prompts.py",),
        code={
            "": ("name_or_path correct_pad_token correct_gemma2 **kwargs", "48c0f79e7c"),
        },
    ),
    Seam(
        name="verl.utils.tokenizer.continuous_token_wiring.create_continuous_token_builder",
        why="prompts as the agent loops render them",
        files=("eval_prompts.py",),
        code={
            "": (
                "tokenizer model_family hf_model_type chat_template_kwargs "
                "mm_processor_kwargs processor **builder_kwargs",
                "93ca489875",
            ),
        },
    ),
    Seam(
        name="verl.plugin.platform.PlatformBase",
        why="a CPU as a platform; every abstract method is ours",
        files=("platform_cpu.py",),
        attributes=(
            "device_name",
            "vendor_name",
            "device_module",
            "is_available",
            "current_device",
            "device_count",
            "set_device",
            "synchronize",
            "manual_seed",
            "manual_seed_all",
            "set_allocator_settings",
            "empty_cache",
            "get_device_capability",
            "communication_backend_name",
            "visible_devices_envvar",
            "nvtx_range",
            "profiler_start",
            "profiler_stop",
            "cudart",
            "ray_resource_name",
            "ray_noset_envvars",
            "is_ipc_supported",
        ),
    ),
    Seam(
        name="verl.plugin.platform.PlatformRegistry",
        why="a CPU as a platform",
        files=("platform_cpu.py",),
        code={
            "register": ("cls platform", "833a306996"),
        },
    ),
    Seam(
        name="verl.plugin.platform.get_platform",
        why="which platform this process is on",
        files=("worker.py", "late.py"),
        code={
            "": ("", "9b115b519e"),
        },
    ),
    Seam(
        name="verl.utils.device.get_torch_device",
        why="waits for copies under way",
        files=("reference.py",),
        code={
            "": ("", "7f8bb2afe3"),
        },
    ),
    Seam(
        name="verl.utils.seqlen_balancing.get_seqlen_balanced_partitions",
        why="rows of a stage are cut as verl cuts a batch",
        files=("stage_logprobs.py",),
        code={
            "": ("seqlen_list k_partitions equal_size", "23e28aeaee"),
        },
    ),
)
