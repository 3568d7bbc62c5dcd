"""Seams of verl's loop, its buffer and its start, and of TransferQueue. See ``seams.py``."""

from copris_core.verl_adapter.seams import Seam

TRAINER_SEAMS = (
    Seam(
        name="verl.trainer.ppo.v1.trainer_base.PPOTrainer",
        why="the loop and its hooks, in this order; ours act between them",
        files=(
            "trainer.py",
            "gate_trainer.py",
            "durable_trainer.py",
            "prolonged_trainer.py",
            "stock_trainer.py",
        ),
        code={
            "__init__": ("self config", "348211b5d9"),
            "init": ("self", "bcf0374318"),
            "_setup": ("self", "82ee863a6a"),
            "fit": ("self agent_loop_manager", "4cb374b936"),
            "step": ("self metrics timing_raw", "c9e342cf9e"),
            "_step_once": ("self metrics timing_raw sample_batch_size", "d549e1982c"),
            "on_init_end": ("self", "b07ab1dc7f"),
            "on_train_begin": ("self", "ef23fb4c80"),
            "on_validate_begin": ("self", "c8abe2aeda"),
            "on_validate_end": ("self", "0b954eec4a"),
            "on_step_begin": ("self", "1728ae84ac"),
            "on_step_end": ("self", "bf8ffa1a25"),
            "on_sample_begin": ("self", "7c59e50dd4"),
            "on_sample_end": ("self", "1bc87d565a"),
            "prepare_step": ("self", "f315301e3f"),
            "get_llm_client": ("self", "f083f14f49"),
            "_init_resource_pool_mgr": ("self", "160a338a96"),
            "_load_checkpoint": ("self", "4f6c4d84ab"),
            "_save_checkpoint": ("self", "93327068e9"),
            "_reissue_inflight_prompts": ("self partition_id", "b4ba5b71ec"),
            "_submit_batch_to_rollout": ("self batch", "0b6d21d2d2"),
            "_add_prompts_to_generate": ("self num_prompts", "49c923fd1a"),
            "_balance_batch": ("self batch metrics logging_prefix keep_minibatch", "dc0466dd58"),
            "_compute_old_log_prob": ("self batch metrics", "706c0fdffe"),
            "_compute_advantage": ("self batch metrics", "7d2ef67151"),
            "_update_actor": ("self batch metrics", "2619d15f35"),
            "_compute_metrics": ("self batch metrics timing_raw global_steps epoch", "4bb6a20826"),
            "_validate": ("self", "59022186e7"),
            "_val_metrics_update": (
                "self data_sources sample_uids reward_extra_infos_dict sample_turns "
                "expected_acc_counts",
                "b6323bcc5d",
            ),
        },
        attributes=(
            "config",
            "global_steps",
            "total_training_steps",
            "timing_raw",
            "replay_buffer",
            "agent_loop_manager",
            "checkpoint_manager",
            "llm_server_manager",
            "reward_loop_manager",
            "actor_rollout_wg",
            "role_worker_mapping",
            "trainer_mode",
            "tokenizer",
        ),
        literals=(
            "gen",
            "old_log_prob",
            "ref",
            "update_actor",
            "step",
            "temperature",
            "sync",
            "acc",
            "reward",
        ),
    ),
    Seam(
        name="verl.trainer.ppo.v1.trainer_base.register_trainer",
        why="trainer.v1.trainer_mode finds our trainers",
        files=("trainer.py", "gate_trainer.py", "stock_trainer.py"),
        code={
            "": ("name", "0f01c1fb76"),
        },
    ),
    Seam(
        name="verl.trainer.ppo.v1.trainer_sync.PPOTrainerSync",
        why="the synchronous baseline; its sync of weights is a timed hook",
        files=("trainer.py", "stock_trainer.py"),
        code={
            "on_init_end": ("self", "2e5d69b3f6"),
            "on_step_end": ("self", "ea67e3601f"),
            "on_sample_end": ("self", "493fc39f7a"),
            "on_validate_end": ("self", "0b954eec4a"),
        },
        literals=("update_weights",),
    ),
    Seam(
        name="verl.trainer.ppo.v1.trainer_colocate_async.PPOTrainerColocateAsync",
        why="the stock asynchronous mode that the bench compares with",
        files=("stock_trainer.py",),
        code={
            "get_llm_client": ("self", "0fd57f0d79"),
            "on_init_end": ("self", "2e5d69b3f6"),
            "on_step_end": ("self", "35cc8e0944"),
            "on_sample_end": ("self", "7cc56c7ed0"),
        },
    ),
    Seam(
        name="verl.trainer.ppo.v1.replay_buffer.ReplayBuffer",
        why="ours sample in other ways out of the same books",
        files=("replay_buffer.py",),
        code={
            "__init__": (
                "self trainer_mode trainer_config max_off_policy_threshold "
                "max_off_policy_strategy sampler_kwargs poll_interval refill_fn "
                "filter_groups_metric train_batch_size gen_batch_size "
                "max_inflight_gen_batches sync_refill_failed_groups",
                "1a1f37b8b5",
            ),
            "sample": ("self global_steps partition_id batch_size", "72aae7cd6d"),
            "_sync_metadata_from_transfer_queue": ("self", "128084d7c8"),
            "_materialize_batch": (
                "self partition_id selected_prompt_uids partition_snapshot",
                "0eaadba84d",
            ),
            "_clear_groups": ("self partition_id uids", "fdd4e5b0f0"),
            "_wait_for_next_poll": ("self partition_id last_debug_time", "86102bf1a6"),
        },
        attributes=("partitions", "finished_keys", "failure_keys", "refill_fn"),
        literals=("status", "is_prompt", "pending"),
    ),
    Seam(
        name="verl.trainer.ppo.v1.replay_buffer.ReplayBufferAsync",
        why="its checks of the mode, and its sampling for validation",
        files=("replay_buffer.py",),
        code={
            "sample": ("self global_steps partition_id batch_size", "8643c93f8c"),
            "_validate_mode_config": ("self", "6c6ccb99ce"),
        },
    ),
    Seam(
        name="verl.trainer.main_ppo.run_ppo",
        why="starts Ray, the runner and the loop",
        files=("launch.py",),
        code={
            "": ("config task_runner_class", "95316c8855"),
        },
    ),
    Seam(
        name="verl.trainer.main_ppo.TaskRunnerV1",
        why="a Ray actor whose class can be subclassed",
        files=("task_runner.py",),
        code={
            "run": ("self config _ray_trace_ctx", "c15b3f90cb"),
        },
    ),
    Seam(
        name="verl.trainer.ppo.utils.need_critic",
        why="verl's check of the config",
        files=("launch.py",),
        code={
            "": ("config", "8ce98f8994"),
        },
    ),
    Seam(
        name="verl.trainer.ppo.utils.need_reference_policy",
        why="verl's check of the config",
        files=("launch.py",),
        code={
            "": ("config", "c5e8f08b55"),
        },
    ),
    Seam(
        name="verl.utils.config.validate_config",
        why="verl's check of the config",
        files=("launch.py",),
        code={
            "": ("config use_reference_policy use_critic", "0ea5fdbc89"),
        },
    ),
    Seam(
        name="verl.utils.debug.marked_timer",
        why="phases of a step are timed as verl times its own",
        files=("trainer.py", "gate_trainer.py", "stock_trainer.py"),
        code={
            "": ("name timing_raw color domain category", "0d4eba1d21"),
        },
    ),
    Seam(
        name="verl.utils.tracking.Tracking",
        why="loggers, and the variables that say where they write",
        files=("loggers.py",),
        code={
            "__init__": ("self project_name experiment_name default_backend config", "49214cc5fc"),
            "log": ("self data step backend", "be773043f3"),
        },
        attributes=("supported_backend",),
    ),
    Seam(
        name="verl.utils.tracking",
        why="variables that say where loggers write",
        files=("loggers.py",),
        literals=(
            "TENSORBOARD_DIR",
            "VERL_FILE_LOGGER_PATH",
            "SWANLAB_LOG_DIR",
            "MLFLOW_TRACKING_URI",
        ),
    ),
    Seam(
        name="transfer_queue",
        why="rows of a step, read and written by name",
        files=(
            "trainer.py",
            "records.py",
            "scoring.py",
            "stage_logprobs.py",
            "shaping.py",
            "gate_trainer.py",
            "group_rows.py",
            "stock_trainer.py",
        ),
        code={
            "kv_batch_get": ("keys partition_id select_fields", ""),
            "kv_batch_put": ("keys partition_id fields tags", ""),
            "kv_clear": ("keys partition_id", ""),
            "kv_list": ("partition_id", ""),
            "async_kv_batch_put": ("keys partition_id fields tags", ""),
        },
    ),
    Seam(
        name="transfer_queue.KVBatchMeta",
        why="keys and tags of a batch",
        files=("trainer.py", "durable_trainer.py", "scoring.py", "row_names.py"),
        code={
            "select_keys": ("keys_to_select", ""),
        },
        attributes=("keys", "tags", "partition_id", "extra_info"),
    ),
    Seam(
        name="transfer_queue.interface",
        why="the watchdog asks the queue's actors whether they live",
        files=("watchdog.py",),
        attributes=("_TQ_CONTROLLER", "_TQ_STORAGE"),
        literals=("SimpleStorage",),
    ),
)
