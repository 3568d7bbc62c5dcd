"""CoPRIS: a fixed number of responses in flight, trained with cross-stage importance sampling.

Usage:
    python -m recipes.copris.main                               # experiment=copris
    python -m recipes.copris.main strategy.concurrency=32       # one knob
"""

import sys

from copris_core.cli import run_recipe

if __name__ == "__main__":
    sys.exit(run_recipe("copris", sys.argv[1:]))
