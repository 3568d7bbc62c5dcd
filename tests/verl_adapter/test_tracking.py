"""What verl's own ``Tracking`` passes on to TensorBoard and W&B, read back from their files.

In a process of its own: W&B and TensorBoard take over signals, threads and the environment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.verl, pytest.mark.slow]  # verl's first import takes seconds

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef" * 2 + "01234567"

PROGRAM = """
import sys
from pathlib import Path
from omegaconf import OmegaConf
import os
from copris_core.verl_adapter import loggers
from copris_core.verl_adapter.records import RunRecord

folder = Path(sys.argv[1])
cfg = OmegaConf.create({
    "run": {"dir": str(folder), "started_s": 0.0},
    "correction": {"max_logprob_gap": 0.05},
    "trainer": {"logger": ["tensorboard", "wandb"], "total_training_steps": 2},
})
loggers.refuse_loggers(cfg)
os.environ.update(loggers.variables(cfg, folder))
from verl.utils.tracking import Tracking

tracking = Tracking("copris", "grpo", cfg.trainer.logger, OmegaConf.to_container(cfg))
record = RunRecord.of(cfg)
for step in (1, 2):
    metrics = {"actor/pg_loss": 0.25}  # verl's own
    row = {"rollout/in_flight": 62.5, "reward/mean": 0.5 * step, "val/days/accuracy": 0.75}
    metrics.update(record.write(step, row))
    tracking.log(data=metrics, step=step)
tracking.finish()
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder after two steps."""
    from copris_core.verl_adapter import environment

    folder = tmp_path_factory.mktemp("run")
    variables = os.environ | environment.COMMON | environment.CPU
    variables |= {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY, "WANDB_SILENT": "true"}
    for name in ("TENSORBOARD_DIR", "WANDB_DIR", "WANDB_RUN_ID"):
        variables.pop(name, None)
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=folder, capture_output=True, text=True,
        env=variables | {"PYTHONPATH": str(ROOT)}, check=False, timeout=300,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr[-2000:]
    return folder


def _rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_every_name_and_value_of_a_row_arrives_in_tensorboard(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert {"run/total_steps", "rollout/in_flight", "val/days/accuracy"} < set(_rows(run)[0])
    assert set(events.Tags()["scalars"]) == {*_rows(run)[0], "actor/pg_loss"}
    for name in _rows(run)[0]:
        written = {event.step: event.value for event in events.Scalars(name)}
        expected = {row["step"]: pytest.approx(row[name], rel=1e-6) for row in _rows(run)}
        assert written == expected, name


def test_every_name_of_a_row_arrives_in_wandb(run):
    (written,) = run.glob("wandb/offline-run-*/*.wandb")
    content = written.read_bytes()
    assert [name for name in _rows(run)[0] if name.encode() not in content] == []


def test_all_of_it_lies_in_the_run_folder(run):
    assert {path.name for path in run.iterdir()} == {
        *("metrics.jsonl", "tensorboard", "wandb", "wandb_run_id")
    }
    (offline,) = run.glob("wandb/offline-run-*")
    assert offline.name.endswith((run / "wandb_run_id").read_text())


def test_the_key_is_in_no_file(run):
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 4
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
