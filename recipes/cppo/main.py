"""CPPO: rows with a small advantage are pruned before any forward pass.

Usage:
    python -m recipes.cppo.main                               # experiment=cppo
    python -m recipes.cppo.main pruning.pruning_rate=0.75     # one knob
"""

import sys

from copris_core.cli import run_recipe

if __name__ == "__main__":
    sys.exit(run_recipe("cppo", sys.argv[1:]))
