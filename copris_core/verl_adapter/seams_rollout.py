"""Seams of verl's agent loops, clients, servers and router. See ``seams.py``."""

from copris_core.verl_adapter.seams import Seam

ROLLOUT_SEAMS = (
    Seam(
        name="verl.trainer.ppo.v1.agent_loop_tq.AgentLoopWorkerTQ",
        why="ours run a prompt and store its rows in the same way",
        files=("agent_loop.py", "group_rows.py"),
        code={
            "__init__": ("self *args _ray_trace_ctx **kwargs", "e19ef8541a"),
            "generate_sequences": ("self batch _ray_trace_ctx", "e747060541"),
            "_run_prompt": (
                "self prompt sampling_params trajectory trace _ray_trace_ctx",
                "7655f30bb4",
            ),
            "_run_agent_loop": (
                "self sampling_params trajectory agent_name trace _ray_trace_ctx **kwargs",
                "b5c5020c22",
            ),
            "_agent_loop_postprocess": (
                "self output validate _ray_trace_ctx **kwargs",
                "f4ee0caf37",
            ),
            "_compute_score": ("self outputs kwargs _ray_trace_ctx", "25a4d27099"),
        },
        attributes=(
            "config",
            "tokenizer",
            "processor",
            "llm_client",
            "hf_model_type",
            "dataset_cls",
            "tools",
        ),
        literals=(
            "uid",
            "session_id",
            "agent_name",
            "validate",
            "response_len",
            "min_global_steps",
            "success",
            "status",
        ),
    ),
    Seam(
        name="verl.trainer.ppo.v1.agent_loop_tq.AgentLoopManagerTQ",
        why="deals prompts to the workers",
        files=("agent_loop.py",),
        code={
            "__init__": ("self *args **kwargs", "96518970ed"),
            "generate_sequences": ("self prompts", "25986ecad4"),
            "create": ("cls *args **kwargs", "22b689c83f"),
        },
        attributes=("agent_loop_workers", "agent_loop_workers_class"),
    ),
    Seam(
        name="verl.trainer.ppo.v1.agent_loop_tq",
        why="the names that rows are put through, which ours take the place of",
        files=("group_rows.py",),
        attributes=("tq", "list_of_dict_to_tensordict"),
        literals=("status", "running", "finished", "failure"),
    ),
    Seam(
        name="verl.experimental.agent_loop.agent_loop",
        why="how verl builds an agent loop; ours does without Hydra",
        files=("agent_loop.py",),
        attributes=("_agent_loop_registry", "DictConfigWrap", "ToolListWrap"),
        literals=("_target_",),
    ),
    Seam(
        name="verl.experimental.agent_loop.agent_loop.AgentLoopOutput",
        why="what an agent loop gives back",
        files=("agent_loop.py", "shaping.py"),
        attributes=(
            "response_ids",
            "response_mask",
            "response_logprobs",
            "reward_score",
            "extra_fields",
        ),
    ),
    Seam(
        name="verl.experimental.agent_loop.agent_loop.AgentLoopBase",
        why="arguments of an agent loop",
        files=("agent_loop.py",),
        code={
            "__init__": (
                "self trainer_config server_manager tokenizer processor dataset_cls "
                "data_config hf_model_type **kwargs",
                "9c2f35ed74",
            ),
        },
    ),
    Seam(
        name="verl.experimental.agent_loop.single_turn_agent_loop.SingleTurnAgentLoop",
        why="forced lengths are one more sampling parameter",
        files=("forced_length.py",),
        code={
            "run": ("self sampling_params priority **kwargs", "77156c6a69"),
        },
    ),
    Seam(
        name="verl.workers.rollout.llm_server.LLMServerClient",
        why="our client takes its place in every agent loop",
        files=("client.py", "stock_trainer.py"),
        code={
            "__init__": ("self config load_balancer_handle **kwargs", "e4ae09afed"),
            "generate": (
                "self request_id prompt_ids sampling_params image_data video_data "
                "audio_data mm_processor_kwargs **kwargs",
                "ad5317be68",
            ),
            "_vllm_request_id": ("self request_id", "187ce16a31"),
            "_acquire_server": ("self request_id **extra", "305295a30e"),
            "_release_server": ("self server_id request_id", "8367c46302"),
        },
        attributes=("config", "_load_balancer"),
        literals=("global_steps",),
    ),
    Seam(
        name="verl.workers.rollout.llm_server.FullyAsyncLLMServerClient",
        why="the bench notes what it does at each visit; ours differs from it in keeping segments",
        files=("stock_trainer.py",),
        code={
            "generate": (
                "self request_id prompt_ids sampling_params image_data video_data "
                "audio_data mm_processor_kwargs **kwargs",
                "82d739ff1c",
            ),
        },
        literals=("global_steps", "min_global_steps"),
    ),
    Seam(
        name="verl.workers.rollout.llm_server.LLMServerManager",
        why="clients, engines and router of a run",
        files=("gate_trainer.py", "stock_trainer.py", "watchdog.py"),
        code={
            "get_client": ("self client_cls **kwargs", "f9dc54ef02"),
            "_init_global_load_balancer": ("self", "d7580448a8"),
        },
        attributes=("server_handles", "global_load_balancer"),
    ),
    Seam(
        name="verl.workers.rollout.router.GlobalRequestLoadBalancer",
        why="the protocol that our gate answers",
        files=("balancer.py", "router.py"),
        code={
            "acquire_server": ("self request_id", "dadcc2472d"),
            "release_server": ("self server_id request_id", "d2feb3b548"),
            "add_servers": ("self servers", "cf6db4bf7b"),
            "remove_servers": ("self server_ids", "afc482ba02"),
            "get_all_servers": ("self", "4d3f72ac62"),
            "get_total_inflight": ("self", "1a8862bc37"),
            "get_status": ("self", "621fb39d98"),
            "clear_sticky_cache": ("self", "9e4d27ef20"),
            "require_acquire_fields": ("self", "77f777c39b"),
            "require_release_fields": ("self", "bd6c3522a1"),
        },
    ),
    Seam(
        name="verl.workers.config.RolloutConfig",
        why="keys that verl's YAML leaves out",
        files=("replica.py", "keys.py", "gate_settings.py"),
        attributes=(
            "custom",
            "agent",
            "router_config_path",
            "repetition_penalty",
            "checkpoint_manager_class",
            "standalone_gpu_memory_utilization",
        ),
    ),
    Seam(
        name="verl.workers.config.AgentLoopConfig",
        why="our manager of agent loops",
        files=("agent_loop.py",),
        attributes=("agent_loop_manager_class", "agent_loop_config_path", "default_agent_loop"),
    ),
    Seam(
        name="verl.workers.rollout.router.get_router_handle",
        why="builds our router from a file",
        files=("gate_settings.py", "router.py"),
        code={
            "": ("servers router_config_path full_determinism load_balancer_cls", "facafd1284"),
        },
    ),
    Seam(
        name="verl.workers.rollout.replica.TokenOutput",
        why="an engine's answer",
        files=("client.py", "replica.py"),
        attributes=("token_ids", "log_probs", "stop_reason", "extra_fields"),
    ),
    Seam(
        name="verl.workers.rollout.replica.RolloutReplicaRegistry",
        why="our replica under verl's name for vLLM",
        files=("replicas.py",),
        code={
            "register": ("cls name loader", "19d9efe326"),
            "get": ("cls name", "16f24a403c"),
        },
    ),
    Seam(
        name="verl.workers.rollout.vllm_rollout.vllm_async_server.vLLMHttpServer",
        why="our server is verl's, asked to keep or park requests",
        files=("replica.py",),
        code={
            "run_server": ("self args", "45259c2bbd"),
            "generate": (
                "self prompt_ids sampling_params request_id image_data video_data "
                "audio_data mm_processor_kwargs priority kv_transfer_params",
                "1fd3c3b2eb",
            ),
            "abort_all_requests": ("self reset_prefix_cache reject_request", "890e60f1ee"),
            "resume_generation": ("self", "b5b9e4f505"),
        },
        attributes=(
            "engine",
            "config",
            "model_config",
            "global_steps",
            "node_rank",
            "replica_rank",
        ),
        literals=("aborted",),
    ),
    Seam(
        name="verl.workers.rollout.vllm_rollout.vllm_async_server.vLLMReplica",
        why="makes our server",
        files=("replica.py",),
        code={
            "__init__": (
                "self replica_rank config model_config gpus_per_node is_reward_model "
                "is_teacher_model name_suffix",
                "f8267eb775",
            ),
        },
        attributes=("server_class",),
    ),
    Seam(
        name="verl.workers.rollout.vllm_rollout.utils.vLLMColocateWorkerExtension",
        why="where an engine takes new weights",
        files=("worker_extension.py", "vllm_cpu.py", "weight_socket.py"),
        code={
            "__new__": ("cls **kwargs", "d7b728cda4"),
            "_get_zmq_handle": ("self", "33c127c53d"),
        },
    ),
    Seam(
        name="verl.workers.rollout.vllm_rollout.utils",
        why="the socket's name, which ours marks",
        files=("weight_socket.py",),
        literals=("ipc:///tmp/rl-colocate-zmq-",),
    ),
    Seam(
        name="verl.workers.rollout.vllm_rollout.vllm_rollout",
        why="the socket's name, which ours marks",
        files=("weight_socket.py", "worker.py"),
        literals=("ipc:///tmp/rl-colocate-zmq-",),
    ),
    Seam(
        name="verl.checkpoint_engine.base.CheckpointEngineManager",
        why="stops, wakes and updates the engines",
        files=("gate_trainer.py",),
        code={
            "abort_replicas": ("self reject_request", "0acbe2dbbf"),
            "sleep_replicas": ("self", "5edccd7431"),
            "resume_generation_replicas": ("self", "dd5980a475"),
            "update_weights": ("self global_steps", "5d7595c67d"),
        },
    ),
    Seam(
        name="verl.experimental.reward_loop.reward_loop.RewardLoopManager",
        why="the watchdog asks its workers whether they live",
        files=("watchdog.py",),
        attributes=("reward_loop_workers",),
    ),
    Seam(
        name="verl.utils.normalize_token_ids",
        why="a prompt as token ids",
        files=("client.py",),
        code={
            "": ("tokenized_output", "429bd1ca15"),
        },
    ),
    Seam(
        name="verl.utils.tensordict_utils",
        why="rows as one tensor dict",
        files=("group_rows.py", "gate_trainer.py", "losses.py", "loss_cases.py"),
        code={
            "list_of_dict_to_tensordict": ("list_of_dicts", "a9981b2fd7"),
            "get_non_tensor_data": ("data key default", "5afa55a442"),
            "assign_non_tensor_data": ("tensor_dict key val", "f51705736a"),
        },
    ),
    Seam(
        name="verl.utils.import_utils.load_class_from_fqn",
        why="a class by its name in the config",
        files=("agent_loop.py",),
        code={
            "": ("fqn description", "51fe76fd8b"),
        },
    ),
)
