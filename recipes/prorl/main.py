"""ProRL: a KL coefficient that follows its target, and a reference that is reset on the way.

Usage:
    python -m recipes.prorl.main                                    # experiment=prorl
    python -m recipes.prorl.main reference_reset=prorl_v2           # one knob
"""

import sys

from copris_core.cli import run_recipe

if __name__ == "__main__":
    sys.exit(run_recipe("prorl", sys.argv[1:]))
