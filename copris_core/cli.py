"""The ``copris`` command: the first word picks what to do, the rest are Hydra overrides.

Heavy imports happen inside the branch that needs them. What the user did wrong is one line on
stderr and exit code 2; what nobody expected is a traceback.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from copris_core.cli_bench import BENCH_HELP, bench
from copris_core.cli_compare import COMPARE_HELP, compare
from copris_core.cli_data import DATA_HELP, data
from copris_core.cli_eval import EVAL_HELP, evaluate
from copris_core.cli_picture import PICTURE_HELP, picture
from copris_core.cli_plan import PLAN_HELP, plan
from copris_core.cli_watch import WATCH_HELP, watch

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from copris_core.verl_adapter.config import RunConfig

USAGE: Final = """\
copris: RL recipes for LLM reasoning on stock verl

  copris check   [key=value ...]   say what a run would do, and refuse what cannot work
  copris train   [key=value ...]   check, then train
  copris compare NAME NAME ... | RUN RUN ... [--seeds N] [--out DIR] [key=value ...]
                                   train experiments in turn, or read runs; write one report
  copris eval    MODEL_OR_RUN --task gsm8k,math500=FILE,... [--n N] ...
                                   sample test sets, judge, and write a page to read the samples in
  copris audit   RUN [--json] [--rows N]
                                   prove from a run's ledger that nothing was lost or done twice
  copris bench   [--methods A,B] [--out DIR] ...
                                   measure every method beside stock verl on this machine
  copris plan    [--preset NAME] [--lengths FILE] ...
                                   which N' to choose, before anything is started
  copris data    make prorl --out DIR [--sizes math=400,...]
                                   make ProRL's five training and validation sets
  copris watch   RUN [--once] [--every S]
                                   a live view of a run, from its metrics alone
  copris picture RUN [--out FILE]  how a prolonged run went, as a picture and numbers

  copris COMMAND --help            more about one command
"""

KEYS_HELP: Final = """\
Keys are Hydra overrides of configs/train.yaml:
  experiment=grpo|copris|cppo|prorl|dapo, or a stack: copris_cppo, copris_prorl, copris_dapo,
      cppo_dapo, copris_cppo_prorl_dapo        a named run
  strategy=sync|naive_partial|oversample|copris  strategy.concurrency=N
  strategy.limit=fixed|adaptive                staleness.max_lag=K
  correction=none|cross_stage|stage|decoupled  correction.reject=none|token|sequence
  pruning=none|cppo     pruning.pruning_rate=P clip=symmetric|dapo|prorl
  group_filter=none|dapo                       reward_shaping=none|dapo|prorl_v2
  kl_control=none|fixed|adaptive               reference_reset=none|interval|prorl_v1|prorl_v2
  entropy_control=none|trend                   length_schedule=none|steps|cosine
  task=days|gsm8k|math|code|stem|logic|instruction|mix|file|custom    task.path=FILE
  policy=tiny_days|hf   policy.path=FOLDER or ORG/NAME of the hub; configs/policy has more
  platform=cpu|gpu      platform.devices=N     seed=N  run.dir=FOLDER  mini_batches=N
  platform.nodes=N      platform.ray_address=auto|HOST:PORT    several machines: docs/gpu.md
  trainer.total_training_steps=N, data.train_batch_size=N, and every other key of verl
"""

CHECK_HELP: Final = f"""\
copris check [key=value ...]

Reads the config, the data and the model folder, prints the batch arithmetic and refuses
contradictions. Starts nothing and writes nothing.

{KEYS_HELP}"""

TRAIN_HELP: Final = f"""\
copris train [key=value ...]

Checks, then trains. Writes runs/<experiment_name>/<time>/ with config.yaml, metrics.jsonl and
summary.json. With run.dir=FOLDER of a run that was cut off, the same command goes on from its
newest checkpoint (trainer.save_freq=N saves every N steps).

{KEYS_HELP}"""

AUDIT_HELP: Final = """\
copris audit RUN [--json] [--rows N]

Reads ledger.jsonl of the run folder RUN and prints which prompts and responses were lost or done
twice, what a restart continued or repeated, and the lengths of what was trained against what was
finished. Exit code 1 when anything was lost or done twice.

  --json     print one JSON object instead
  --rows N   rows in the data set, each drawn once in a pass; without it, the rows that were seen
"""

RUN_FAILED: Final = 1
USER_ERROR: Final = 2
INTERRUPTED: Final = 130
STACK: Final = ("hydra", "omegaconf", "rich", "yaml", "matplotlib", "psutil", "ray", "verl")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: the command line without the program's name; None reads ``sys.argv``.

    Returns:
        Exit code: 0 done, 1 the run died, 2 the user can mend it, 130 interrupted.
    """
    command, *rest = [*(sys.argv[1:] if words is None else words)] or ["--help"]
    if command in ("-h", "--help", "help"):
        return _say(USAGE)
    if command not in COMMANDS:
        return _complain(f"unknown command {command}: use {', '.join(COMMANDS)}")
    run, help_text = COMMANDS[command]
    if "-h" in rest or "--help" in rest:
        return _say(help_text)
    return guarded(run, rest)


def run_recipe(experiment: str, words: Sequence[str]) -> int:
    """Train as ``copris train`` does, an experiment being chosen; a later ``experiment=`` wins."""
    return main(["train", f"experiment={experiment}", *words])


def guarded(run: Callable[[list[str]], int], words: list[str]) -> int:
    """Run a command; turn what the user can mend into one line, and Ctrl-C into its exit code."""
    from copris_core.tasks import TaskDataError
    from copris_core.verl_adapter.errors import ConfigError, TrainingError

    try:
        return run(words)
    except (ConfigError, TaskDataError) as error:
        return _complain(str(error))
    except TrainingError as error:
        return _complain(str(error), code=RUN_FAILED)
    except ModuleNotFoundError as error:
        if error.name not in STACK:
            raise
        return _complain(f"{error.name} is missing: pip install 'copris[cpu]', or see README.md")
    except KeyboardInterrupt:
        return INTERRUPTED


def _check(words: list[str]) -> int:
    _checked(words)
    return 0


def _train(words: list[str]) -> int:
    from copris_core.verl_adapter.launch import train

    cfg, run = _checked(words)
    _print([f"run folder     {train(cfg, run)}"])
    return 0


def _checked(words: list[str]) -> tuple["DictConfig", "RunConfig"]:
    """Read the choices, refuse what cannot work and print what would happen."""
    from copris_core.verl_adapter.check import check
    from copris_core.verl_adapter.door import enter

    cfg, run = enter(words)
    _print(check(run, cfg))
    return cfg, run


def _print(lines: Sequence[str]) -> None:
    from rich.console import Console

    for line in lines:
        Console().print(line, highlight=False, soft_wrap=True)


def _audit(words: list[str]) -> int:
    from rich.console import Console

    from copris_core.report.audit import audit
    from copris_core.report.audit_view import print_audit
    from copris_core.rollout.ledger import LEDGER_FILE, SavedLedger
    from copris_core.verl_adapter.errors import ConfigError

    place, num_rows, as_json = split_audit(words)
    try:
        found = audit(
            SavedLedger(place / LEDGER_FILE if place.is_dir() else place), num_rows=num_rows
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if as_json:
        _say(json.dumps(found.to_json(), indent=2) + "\n")
    else:
        print_audit(found, Console())
    return 0 if found.ok else RUN_FAILED


def split_audit(words: Sequence[str]) -> tuple[Path, int | None, bool]:
    """Split the words of ``audit`` into the run, the number of rows and whether JSON is wanted.

    Raises:
        ConfigError: not exactly one run, an unknown flag, or ``--rows`` without a number.
    """
    from copris_core.verl_adapter.errors import ConfigError

    rest, num_rows = [word for word in words if word != "--json"], None
    if "--rows" in rest:
        place = rest.index("--rows")
        number = "".join(rest[place + 1 : place + 2])
        if not number.isdecimal() or not int(number):
            raise ConfigError("--rows needs the number of rows in the data set: --rows 2000")
        num_rows = int(number)
        del rest[place : place + 2]
    if len(rest) != 1 or rest[0].startswith("-"):
        raise ConfigError("name one run folder: copris audit runs/copris/TIME")
    return Path(rest[0]), num_rows, "--json" in words


def _say(text: str) -> int:
    sys.stdout.write(text)
    return 0


def _complain(message: str, *, code: int = USER_ERROR) -> int:
    sys.stderr.write(f"copris: {message}\n")
    return code


COMMANDS: Final[dict[str, tuple[Callable[[list[str]], int], str]]] = {
    "check": (_check, CHECK_HELP),
    "train": (_train, TRAIN_HELP),
    "compare": (compare, COMPARE_HELP + KEYS_HELP),
    "eval": (evaluate, EVAL_HELP),
    "audit": (_audit, AUDIT_HELP),
    "bench": (bench, BENCH_HELP),
    "plan": (plan, PLAN_HELP),
    "data": (data, DATA_HELP),
    "picture": (picture, PICTURE_HELP),
    "watch": (watch, WATCH_HELP),
}


if __name__ == "__main__":
    sys.exit(main())
