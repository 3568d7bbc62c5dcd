"""What the user is told when a run dies: who, when, why, and what to type next."""

from pathlib import Path

import pytest

from copris_core.checkpoint.seal import begin, seal
from copris_core.verl_adapter.failure import (
    classify,
    failure_of,
    how_to_go_on,
    read_failure,
    write_failure,
)
from copris_core.verl_adapter.phase import write_phase

pytestmark = pytest.mark.verl

RAY_TELLS = """\
\x1b[36mray::TaskRunnerV1.run()\x1b[39m (pid=1, ip=1.2.3.4, actor_id=5)
  File "trainer.py", line 1, in run
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
	class_name: Router
	actor_id: 0123
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit \
detail: Worker unexpectedly exits with a connection error code 2. End of file."""


def _checkpoint(folder: Path, step: int) -> None:
    checkpoint = folder / "checkpoints" / f"global_step_{step}"
    begin(checkpoint)
    (checkpoint / "data.pt").write_bytes(b"x")
    seal(checkpoint, step)


def test_a_dead_actor_is_named_with_phase_step_and_mend(tmp_path):
    write_phase(tmp_path, "stopping", step=7)
    _checkpoint(tmp_path, 6)
    assert classify(tmp_path, RuntimeError(RAY_TELLS)).line == (
        "the router actor died while stopping in step 7 (its process ended without a word: killed, "
        f"or out of memory); run the same command again with run.dir={tmp_path}: it goes on from "
        "step 6"
    )


def test_without_a_checkpoint_the_user_is_told_that_the_run_starts_over(tmp_path):
    assert how_to_go_on(tmp_path).endswith(
        "it starts over, for no checkpoint was saved (trainer.save_freq=N saves)"
    )


def test_a_checkpoint_that_is_not_whole_is_not_promised(tmp_path):
    _checkpoint(tmp_path, 3)
    begin(tmp_path / "checkpoints" / "global_step_4")
    assert how_to_go_on(tmp_path).endswith("it goes on from step 3")


@pytest.mark.parametrize(
    ("told", "what", "mend"),
    [
        ("OSError: [Errno 28] No space left on device", "the disk is full", "free some space"),
        (
            "RuntimeError: PytorchStreamWriter failed writing file data/0: file write failed",
            "the disk is full",
            "free some space",
        ),
        (
            "RuntimeError: [enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0",
            "the disk is full",
            "free some space",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory.", "out of memory", "lower actor_rollout_ref"),
        (
            "Task was killed due to the node running low on memory.\nray.exceptions."
            "OutOfMemoryError: 1 worker was killed due to memory pressure",
            "out of memory",
            "lower actor_rollout_ref",
        ),
        ("vllm.v1.engine.exceptions.EngineDeadError: EngineCore", "an engine process died", "run"),
        ("ValueError: 3 is not 4", "the run failed", "mend the cause, then run"),
    ],
)
def test_each_known_cause_has_its_mend(tmp_path, told, what, mend):
    failure = classify(tmp_path, RuntimeError(f"ray::x()\n  File y\n{told}"))
    assert failure.what == what
    assert failure.mend.startswith(mend)
    assert "run the same command again" in failure.mend
    assert failure.cause in told


def test_the_cause_is_the_innermost_error(tmp_path):
    told = """\x1b[36mray::TaskRunnerV1.run()\x1b[39m (pid=1, ip=1.2.3.4)
  File "trainer.py", line 1, in run
ray.exceptions.RayTaskError(KeyError): \x1b[36mray::WorkerDict.update()\x1b[39m (pid=2)
  File "worker.py", line 2, in update
KeyError: 'advantages'"""
    assert classify(tmp_path, RuntimeError(told)).cause == "KeyError: 'advantages'"


def test_an_error_without_a_word_is_named_by_its_kind(tmp_path):
    assert "(TimeoutError)" in classify(tmp_path, TimeoutError()).line


def test_the_line_is_one_line(tmp_path):
    failure = failure_of(tmp_path, "the engine died", cause="first\n  second\n")
    assert "(first second)" in failure.line
    assert "\n" not in failure.line


def test_what_was_written_is_read_back(tmp_path):
    assert read_failure(tmp_path) is None
    failure = failure_of(tmp_path, "the engine died", cause="unknown")
    write_failure(tmp_path, failure)
    assert read_failure(tmp_path) == failure
