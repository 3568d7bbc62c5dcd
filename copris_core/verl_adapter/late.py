"""What verl's worker processes load with their model config (actor_rollout_ref.model.external_lib).

By then verl is fully imported, so engines and losses can be registered.
"""

from verl.plugin.platform import get_platform

from copris_core.verl_adapter import losses  # noqa: F401  registers the policy loss

if get_platform().device_name == "cpu":
    from copris_core.verl_adapter import engine_cpu  # noqa: F401  registers the FSDP2 engine
