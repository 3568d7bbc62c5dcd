"""What verl loads while it is itself being imported, in every process (VERL_USE_EXTERNAL_MODULES).

An import error here raises; verl's entry points swallow theirs. Only light work belongs here.
"""

import os

if os.environ.get("VERL_PLATFORM") == "cpu":
    from copris_core.verl_adapter import platform_cpu  # registers the platform

    platform_cpu.name_the_vllm_distribution()
