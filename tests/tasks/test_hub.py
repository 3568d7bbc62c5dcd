"""A hub that does not answer is found out once, in seconds; what it then means for a data set."""

import http.server
import os
import socket
import sys
import threading
import time
import types
from collections.abc import Iterator

import pytest

from copris_core.tasks import get_task, hub
from copris_core.tasks.task import HubUnreachable, TaskDataError


@pytest.fixture(autouse=True)
def _undecided(monkeypatch) -> Iterator[None]:
    """Nothing is decided before a test, and what it decided is forgotten after it."""
    monkeypatch.setenv(hub.OFFLINE, "")
    for name in hub.SWITCHES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    hub._answers.cache_clear()
    yield
    hub._answers.cache_clear()


@pytest.fixture
def refusing(monkeypatch) -> list[str]:
    """A hub that answers every question with 403; returns what it was asked."""
    asked: list[str] = []

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent(monkeypatch) -> None:
    """A place where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def _no_data(error: Exception) -> types.SimpleNamespace:
    def load_dataset(*_: object, **__: object) -> None:
        raise error

    return types.SimpleNamespace(load_dataset=load_dataset)


@pytest.mark.parametrize("said", ["1", "true", "ON"])
def test_the_user_may_say_that_there_is_no_hub(monkeypatch, refusing, said):
    monkeypatch.setenv(hub.OFFLINE, said)
    assert hub.is_offline()
    assert refusing == []


def test_a_hub_that_refuses_is_there_and_is_asked_once(refusing):
    assert not hub.is_offline()
    assert not hub.is_offline()
    assert len(refusing) == 1
    assert os.environ[hub.OFFLINE] == ""


def test_where_nobody_answers_the_hubs_libraries_are_told(monkeypatch, silent):
    loaded = types.ModuleType("huggingface_hub.constants")
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", loaded)
    began = time.monotonic()
    assert hub.is_offline()
    assert time.monotonic() - began < 2
    assert os.environ[hub.OFFLINE] == "1"
    assert vars(loaded)[hub.OFFLINE] is True


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("gsm8k", {"path": "some/questions"}),
        ("math", {"path": "some/questions"}),
        ("instruction", {"val_path": "some/questions"}),
        ("mix", {"parts": {"math": {"path": "some/questions"}}}),
    ],
)
def test_an_unreachable_data_set_is_told_from_a_wrong_one(monkeypatch, silent, task, settings):
    monkeypatch.setitem(sys.modules, "datasets", _no_data(FileNotFoundError("no copy\nof it")))
    built = get_task(task, **settings)
    read = built.validation_rows if task == "instruction" else built.train_rows
    with pytest.raises(HubUnreachable, match=r"^some/questions: no copy; or set ") as refusal:
        read()
    assert refusal.value.hub_id == "some/questions"


def test_a_data_set_that_the_hub_does_not_have_is_an_error_of_the_user(monkeypatch, refusing):
    monkeypatch.setitem(sys.modules, "datasets", _no_data(FileNotFoundError("no such set")))
    with pytest.raises(TaskDataError, match="no such set") as refusal:
        get_task("gsm8k", path="some/questions").train_rows()
    assert not isinstance(refusal.value, HubUnreachable)


def test_a_hub_that_breaks_off_is_unreachable(monkeypatch, refusing):
    monkeypatch.setitem(sys.modules, "datasets", _no_data(ConnectionError("broken")))
    with pytest.raises(HubUnreachable):
        get_task("gsm8k", path="some/questions").train_rows()


def test_a_missing_local_file_stays_an_error(silent):
    with pytest.raises(TaskDataError, match="no such file") as refusal:
        get_task("gsm8k", path="some/questions.jsonl").train_rows()
    assert not isinstance(refusal.value, HubUnreachable)
