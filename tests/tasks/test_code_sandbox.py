"""What code in the sandbox can and cannot do; every attack is really run."""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from copris_core.tasks import code_sandbox
from copris_core.tasks.code_runner import NoWallError, encode, filter_program
from copris_core.tasks.code_verdict import Truth, judged, sandbox_trouble

pytestmark = pytest.mark.slow  # all together: seconds, and processes of their own

PR_SET_CHILD_SUBREAPER = 36


def _run(code, *, calls=1, want="fine", **limits):
    """Judge a function f of one argument that should always give ``want``."""
    tests = tuple(([i], encode(want)) for i in range(calls))
    return judged(f"```python\n{code}\n```", Truth(entry="f", tests=tests, **limits))


def _children(of=None):
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return {pid for pid, parent in parents.items() if parent == (of or os.getpid())}


@pytest.fixture
def orphans():
    """Processes that are left; orphans of any depth come to this one instead of to init."""
    libc = ctypes.CDLL(None)
    before = _children()
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield lambda: _children() - before
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


ATTEMPTS = {
    "read a file": "open('/etc/passwd')",
    "read its own memory": "open('/proc/self/mem', 'rb')",
    "read its start": "open('/proc/self/cmdline')",
    "write a file": "open('/tmp/made_by_a_response', 'w')",
    "list a folder": "os.listdir('/')",
    "see a folder": "os.stat('/')",
    "make a folder": "os.mkdir('/tmp/made_by_a_response')",
    "remove a file": "os.remove('/tmp/made_by_a_response')",
    "fork": "os.fork()",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "exec": "os.execv('/bin/true', ['true'])",
    "signal its parent": "os.kill(os.getppid(), 9)",
    "signal all": "os.kill(-1, 9)",
    "start a thread": "threading.Thread(target=print).start()",
    "raise its limits": "resource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
    "run a command": "libc(-1 if libc_.system(b'true') else 0)",
    "fork in C": "libc(libc_.fork())",
    "open a socket": "libc(libc_.socket(2, 1, 0))",
    "open a file in C": "libc(libc_.open(b'/etc/passwd', 0))",
    "keep memory in a file": "libc(libc_.memfd_create(b'x', 0))",
    "trace a process": "libc(libc_.ptrace(16, 1, 0, 0))",
    "leave its session": "libc(libc_.setsid())",
    "leave its namespace": "libc(libc_.unshare(0x10000000))",
    "outlive its parent": "libc(libc_.prctl(1, 0, 0, 0, 0))",
    "map a shared segment": "libc(libc_.shmget(0, 4096, 0o1600))",
}


def test_code_cannot_reach_out_whatever_it_tries():
    lines = [f"    if x == {i}: {attempt}" for i, attempt in enumerate(ATTEMPTS.values())]
    body = "\n".join(lines)
    code = (
        "import ctypes, os, sys, threading\nresource = sys.modules['resource']\n"
        "libc_ = ctypes.CDLL(None)\n"
        "def libc(result):\n    if result == -1: raise PermissionError\n"
        f"def attempt(x):\n{body}\n    return 'done'\n"
        "def f(x):\n    try:\n        return attempt(x)\n"
        "    except (PermissionError, RuntimeError, ValueError):\n        return 'refused'\n"
    )
    verdict = _run(code, calls=len(ATTEMPTS), want="refused")
    assert verdict.reason == f"{len(ATTEMPTS)} of {len(ATTEMPTS)} tests passed"
    assert not Path("/tmp/made_by_a_response").exists()


def test_code_sees_no_environment_and_no_open_file_but_its_pipes(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_TRAINER", "x")
    code = (
        "import ctypes, os\n"
        "def is_open(fd):\n"
        "    try:\n        os.lseek(fd, 0, 1)\n"
        "    except OSError as error:\n        return error.errno != 9\n"
        "    return True\n"
        "def f(x):\n"
        "    libc = ctypes.CDLL(None)\n"
        "    secrets = [libc.getenv(b'SECRET_OF_THE_TRAINER'), libc.getenv(b'HOME')]\n"
        "    return [dict(os.environ), secrets, [fd for fd in range(64) if is_open(fd)]]\n"
    )
    with open(__file__) as kept_open:
        os.set_inheritable(kept_open.fileno(), True)
        verdict = _run(code, want=[{}, [0, 0], [0, 1, 2]])
    assert verdict.score == 1.0, verdict.reason


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def f(x):\n    while True: pass", "took over 0.2 s"),
        ("import time\ndef f(x): time.sleep(1000)", "took over 0.2 s"),
        (
            "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\n"
            "def f(x): time.sleep(1000)",
            "took over 0.2 s",
        ),
        ("import os, time\ndef f(x):\n    os.close(2)\n    time.sleep(1000)", "took over 0.2 s"),
        ("def f(x):\n    while True: print('x' * 10000)", "too much output"),
        ("import sys\ndef f(x):\n    while True: sys.stderr.write('x' * 10000)", "too much output"),
        ("def f(x): return 'x' * 10**7", "too much output"),
        ("import os\ndef f(x):\n    while True: os.write(1, b'x' * 10000)", "too much output"),
        ("def f(x): return [0] * 10**9", "out of memory"),
        ("def f(x):\n    xs = []\n    while True: xs.append('x' * 10**7)", "out of memory"),
        ("import ctypes\ndef f(x): ctypes.string_at(0)", "crashed by signal 11"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x):\n    xs = []\n    xs.append(xs)\n    return xs", "RecursionError"),
        ("def f(x): return " + "-" * 40_000 + "1", "syntax error"),
        ("def f(x): return " + "(" * 5_000, "syntax error"),
    ],
)
def test_what_would_not_end_is_ended_with_its_reason(code, reason, orphans):
    started = time.monotonic()
    wall_s = 0.2 if reason == "took over 0.2 s" else 5.0
    verdict = _run(code, wall_s=wall_s, memory_mb=128)
    assert verdict.score == 0.0
    assert reason in verdict.reason or "crashed by signal 11" in verdict.reason
    assert time.monotonic() - started < 20  # the machine may be busy; not for ever is what counts
    assert orphans() == set()


def test_a_process_that_closes_its_answers_and_sleeps_is_not_waited_for(orphans):
    code = "import os, time\nos.close(1)\ntime.sleep(1000)\ndef f(x): return 'fine'"
    assert _run(code, wall_s=0.4).reason in ("closed its output", "took over 0.4 s")
    assert orphans() == set()


FORKS = (
    "import os\ndef spread():\n    try:\n        return os.fork()\n"
    "    except OSError:\n        return 1\n"
)


@pytest.mark.parametrize(
    "code",
    [
        FORKS + "for _ in range(50): spread()\ndef f(x): return 'fine'",
        FORKS + "if spread() == 0:\n    os.setsid()\n    if spread() == 0:\n"
        "        import time\n        time.sleep(20)\ndef f(x): return 'fine'",
    ],
    ids=["fork bomb", "daemon"],
)
def test_nothing_is_left_running_after_a_verdict(code, orphans):
    assert _run(code, wall_s=0.4).score == 1.0
    assert orphans() == set()


def test_code_does_not_outlive_a_trainer_that_is_killed(orphans):
    script = (
        "from copris_core.tasks.code_verdict import Truth, judged\n"
        "code = 'import time\\nprint(1)\\ntime.sleep(1000)\\ndef f(x): return 1'\n"
        "judged(code, Truth(entry='f', tests=(([1], 1),), wall_s=50.0))"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root) as trainer:
        deadline = time.monotonic() + 30
        while not (inner := _children(trainer.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)  # into the sleep of the code, most likely
        trainer.kill()
    assert inner
    deadline = time.monotonic() + 10
    while orphans() and time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.02)
    assert orphans() == set()


def test_many_verdicts_from_threads_are_right_and_leave_no_file_open():
    def one(i):
        return _run(f"def f(x): return {i}", want=i if i % 2 else -1).score

    before = len(os.listdir("/proc/self/fd"))
    with ThreadPoolExecutor(4) as pool:
        scores = list(pool.map(one, range(50)))
    assert scores == [i % 2 for i in range(50)]
    assert len(os.listdir("/proc/self/fd")) == before


def test_equal_code_gets_equal_scores():
    code = "import random\ndef f(x): return [random.random(), list({'a', 'b', 'c', 'd'})]"
    other = f"print(1)\n{code}"
    told = []
    for each in (code, other):
        answer = _run(f"{each}\ng = f\ndef f(x): raise ValueError(g(x))").reason
        told.append(answer)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("wall", "hole", "reason"),
    [
        ("platform.machine()", "'sparc'", "no sandbox: no list of system calls for sparc"),
        (
            "RETURN, 0, 0, REFUSE",
            "RETURN, 0, 0, ALLOW",
            "no sandbox: seccomp was accepted and does",
        ),
        ("SECCOMP_MODE_FILTER, packed", "99, packed", "no sandbox: seccomp: Invalid argument"),
    ],
)
def test_without_its_walls_the_sandbox_runs_nothing_and_says_so(
    tmp_path, monkeypatch, wall, hole, reason
):
    source = code_sandbox.RUNNER.read_text()
    assert wall in source
    (tmp_path / "runner.py").write_text(source.replace(wall, hole))
    monkeypatch.setattr(code_sandbox, "RUNNER", tmp_path / "runner.py")
    verdict = _run("def f(x): return 'fine'")
    assert verdict.score == 0.0
    assert verdict.reason.startswith(reason)
    assert sandbox_trouble() == verdict.reason


def test_a_machine_with_its_walls_has_no_trouble():
    assert sandbox_trouble() is None


def test_a_machine_whose_system_calls_are_not_listed_runs_nothing():
    with pytest.raises(NoWallError, match="sparc"):
        filter_program("sparc")


def test_the_filter_lets_a_listed_call_pass_and_refuses_the_next():
    # A tiny BPF machine: the last instruction word says what becomes of the call.
    def verdict(machine, architecture, call):
        program = filter_program(machine)
        steps = [
            (
                int.from_bytes(program[i : i + 2], "little"),
                program[i + 2],
                program[i + 3],
                int.from_bytes(program[i + 4 : i + 8], "little"),
            )
            for i in range(0, len(program), 8)
        ]
        at, word = 0, 0
        while True:
            code, then, otherwise, k = steps[at]
            if code == 0x06:
                return hex(k)
            if code == 0x20:
                word = {0: call, 4: architecture}[k]
                at += 1
            else:
                at += 1 + (then if word == k else otherwise)

    allow, refuse, kill = "0x7fff0000", "0x50001", "0x80000000"
    for call, outcome in ((0, allow), (201, allow), (2, refuse), (257, refuse), (57, refuse)):
        assert verdict("x86_64", 0xC000003E, call) == outcome  # read, time; open, openat, fork
    for call, outcome in ((63, allow), (177, allow), (56, refuse), (220, refuse), (198, refuse)):
        assert verdict("aarch64", 0xC00000B7, call) == outcome  # read; openat, clone, socket
    assert verdict("x86_64", 0x40000003, 0) == kill  # the 32-bit calls have other numbers


def test_a_ground_truth_holds_no_more_than_what_differs_from_the_defaults():
    truth = Truth(entry="f", tests=(([1], 2),), wall_s=1.5)
    assert json.loads(truth.text()) == {"entry": "f", "tests": [[[1], 2]], "wall_s": 1.5}
    assert Truth.read(truth.text()) == truth
