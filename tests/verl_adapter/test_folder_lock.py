"""Two runs never write to one folder."""

import os
import subprocess
import sys
import time

import pytest

from copris_core.verl_adapter import folder_lock
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.folder_lock import locked

pytestmark = pytest.mark.verl


def test_a_folder_in_use_is_refused_at_once_with_the_process_that_uses_it(tmp_path):
    began_s = time.monotonic()
    with (
        locked(tmp_path),
        pytest.raises(ConfigError, match=f"is in use by process {os.getpid()}: wait until"),
        locked(tmp_path),
    ):
        pass
    assert time.monotonic() - began_s < 5.0


def test_a_folder_is_free_again_when_the_run_has_ended(tmp_path):
    began_s = time.monotonic()
    for _ in range(2):
        with locked(tmp_path) as descriptor:
            assert os.fstat(descriptor)  # it is ours, and open
    assert time.monotonic() - began_s < 5.0  # nobody was waited for


def _held_by_the_rest_of_a_killed_run(folder, seconds: float) -> subprocess.Popen:
    """A process that inherited the lock, as a warden does, while its driver is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with locked(folder) as descriptor:
        os.pwrite(descriptor, b"%-32d" % gone.pid, 0)
        script = f"import time; time.sleep({seconds})"
        return subprocess.Popen([sys.executable, "-c", script], pass_fds=(descriptor,))


def test_the_rest_of_a_killed_run_is_waited_for(tmp_path):
    rest, began_s = _held_by_the_rest_of_a_killed_run(tmp_path, 1.0), time.monotonic()
    with locked(tmp_path):
        assert time.monotonic() - began_s > 0.8
    rest.wait()


def test_the_wait_has_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_lock, "WAIT_S", 0.3)
    rest = _held_by_the_rest_of_a_killed_run(tmp_path, 60.0)
    with pytest.raises(ConfigError, match="is in use"), locked(tmp_path):
        pass
    rest.kill()
    rest.wait()
