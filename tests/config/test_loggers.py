"""TensorBoard and W&B: refused before anything starts, and given the run folder."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.verl

WANDB = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL")
PLACES = ("WANDB_DIR", "WANDB_RUN_ID", "WANDB_RESUME", "WANDB_ENTITY", "TENSORBOARD_DIR")


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch, tmp_path):
    for name in (*WANDB, *PLACES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def _config(logger: Any) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.create({"trainer": {"logger": logger}})


def _refusal(logger: Any) -> str:
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.loggers import refuse_loggers

    with pytest.raises(ConfigError) as found:
        refuse_loggers(_config(logger))
    assert "\n" not in str(found.value)
    return str(found.value)


def _accepts(logger: Any) -> None:
    from copris_core.verl_adapter.loggers import refuse_loggers

    refuse_loggers(_config(logger))


def _variables(logger: Any, folder: Path) -> dict[str, str]:
    from copris_core.verl_adapter.loggers import variables

    return variables(_config(logger), folder)


def test_no_logger_needs_nothing(tmp_path):
    _accepts([])
    assert _variables([], tmp_path) == {}


def test_an_unknown_logger_is_refused_with_those_that_verl_knows():
    assert _refusal("tensorbord").startswith(
        "trainer.logger=tensorbord is unknown: use tensorboard"
    )


def test_our_table_of_loggers_is_verls():
    from verl.utils.tracking import Tracking

    from copris_core.verl_adapter.loggers import MODULES

    assert set(MODULES) == set(Tracking.supported_backend)


@pytest.mark.parametrize("logger", ["tensorboard", ["console", "wandb"]])
def test_a_missing_package_is_named_with_its_install_line(logger, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    name = "tensorboard" if logger == "tensorboard" else "wandb"
    assert _refusal(logger) == (
        f"trainer.logger={name} needs {name}, which is missing: pip install {name}"
    )


def test_wandb_without_a_key_is_refused_before_it_would_ask_for_one():
    assert _refusal(["wandb"]).startswith(
        "trainer.logger=wandb finds no W&B key: run `wandb login`"
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WANDB_MODE", "offline"), ("WANDB_MODE", "disabled"), ("WANDB_API_KEY", "k" * 40)],
)
def test_wandb_starts_offline_or_with_a_key(variable, value, monkeypatch):
    monkeypatch.setenv(variable, value)
    _accepts("wandb")


def test_wandb_starts_with_a_login_for_its_own_server(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password secret\n")
    assert "finds no W&B key" in _refusal("wandb")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    _accepts("wandb")


def test_every_logger_writes_below_the_run_folder(tmp_path):
    found = _variables(["tensorboard", "wandb", "file", "swanlab", "mlflow"], tmp_path)
    places = {name: value for name, value in found.items() if name.endswith(("DIR", "PATH", "URI"))}
    assert len(places) == 5
    assert all(str(tmp_path) in value for value in places.values())


def test_a_place_that_the_user_chose_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("TENSORBOARD_DIR", "/elsewhere")
    assert _variables("tensorboard", tmp_path) == {"TENSORBOARD_DIR": "/elsewhere"}


def test_a_resumed_run_goes_on_in_the_same_wandb_run(tmp_path):
    (tmp_path / "other").mkdir()
    first, again = _variables("wandb", tmp_path), _variables("wandb", tmp_path)
    assert first == again
    assert first["WANDB_RESUME"] == "allow"
    assert first["WANDB_RUN_ID"] != _variables("wandb", tmp_path / "other")["WANDB_RUN_ID"]


def test_no_key_goes_where_ray_would_log_it(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_MODE", "offline")
    found = _variables("wandb", tmp_path)
    assert "k" * 40 not in found.values()
    assert found["WANDB_MODE"] == "offline"
    assert all("k" * 40 not in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_check_says_where_the_metrics_go(capsys):
    from copris_core import cli

    assert cli.main(["check", "trainer.logger=[tensorboard]"]) == 0
    assert "loggers        tensorboard, under the names of metrics.jsonl" in capsys.readouterr().out
