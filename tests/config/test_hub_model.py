"""A model is a folder or a hub id: looked for without the network, fetched once, then checked."""

import functools
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.verl

HUB_ID = "some-org/some-model"
CONFIG = {"model_type": "qwen2", "max_position_embeddings": 4096}


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache of the hub, and nobody to ask."""
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def _keep(cache: Path, *, weights=("model.safetensors",), index=None) -> Path:
    """Put a model into the cache, as the hub's library lays it out."""
    place = cache / "models--some-org--some-model"
    snapshot = place / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text(json.dumps(CONFIG))
    for name in weights:
        (snapshot / name).touch()
    if index is not None:
        named = {"weight_map": {str(i): name for i, name in enumerate(index)}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(named))
    return snapshot


def _find(path):
    from copris_core.verl_adapter.hub_model import find_model

    return find_model(str(path))


def _fetched(entered, *overrides):
    from copris_core.verl_adapter.hub_model import with_model_here

    return with_model_here(*entered("policy=hf", f"policy.path={HUB_ID}", *overrides))


@pytest.fixture(scope="module")
def composed():
    """Composing takes a second; each policy group is composed once."""
    from copris_core.verl_adapter.door import compose

    return functools.cache(lambda policy: compose([policy]))


@pytest.fixture
def entered(composed):
    """``door.enter`` of a policy group and some values, looked up anew each time."""
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.door import derive, parse

    def enter(policy: str, *values: str):
        cfg = OmegaConf.merge(composed(policy), OmegaConf.from_dotlist([*values]))
        run = parse(cfg)
        return derive(cfg, run), run

    return enter


def test_a_folder_wins_over_a_hub_id_of_the_same_words(cache, monkeypatch, tmp_path):
    _keep(cache)
    monkeypatch.chdir(tmp_path)
    (tmp_path / HUB_ID).mkdir(parents=True)
    assert _find(HUB_ID) == (tmp_path / HUB_ID, None)


def test_a_path_of_one_or_three_words_is_a_folder_whether_it_is_there_or_not(cache):
    assert _find("somewhere") == (Path.cwd() / "somewhere", None)
    assert _find("a/b/c") == (Path.cwd() / "a/b/c", None)


def test_a_model_in_the_cache_is_here(cache):
    snapshot = _keep(cache)
    assert _find(HUB_ID) == (snapshot, None)


def test_a_model_of_which_a_weight_file_is_missing_is_not_here(cache):
    shards = ("model-1.safetensors", "model-2.safetensors")
    snapshot = _keep(cache, weights=shards[:1], index=shards)
    assert _find(HUB_ID) == (Path(HUB_ID), HUB_ID)
    (snapshot / shards[1]).touch()
    assert _find(HUB_ID) == (snapshot, None)


def test_a_config_without_weights_is_not_here(cache):
    _keep(cache, weights=())
    assert _find(HUB_ID) == (Path(HUB_ID), HUB_ID)


def test_without_a_hub_a_training_says_in_one_line_where_to_put_the_model(cache, entered):
    from copris_core.verl_adapter.errors import ConfigError

    with pytest.raises(ConfigError) as refusal:
        _fetched(entered)
    assert str(refusal.value) == (
        f"{HUB_ID} is not on this machine and the hub does not answer: give policy.path=FOLDER of "
        "a copy of it"
    )


def test_a_training_that_gets_no_model_leaves_no_run_folder(cache, entered, tmp_path):
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.launch import train

    place = f"run.root={tmp_path / 'runs'}"
    with pytest.raises(ConfigError, match="is not on this machine"):
        train(*entered("policy=hf", f"policy.path={HUB_ID}", place))
    assert not (tmp_path / "runs").exists()


def test_a_training_fetches_the_model_once_and_names_its_folder(cache, entered, monkeypatch):
    import huggingface_hub

    from copris_core.verl_adapter import hub_model

    looks, asked = huggingface_hub.snapshot_download, []

    def gives(hub_id, *, local_files_only=False, **words):
        if local_files_only:
            return looks(hub_id, local_files_only=True, **words)
        asked.append(hub_id)
        return str(_keep(cache))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", gives)
    monkeypatch.setattr(hub_model, "is_offline", lambda: False)
    cfg, run = _fetched(entered)
    assert run.policy.hub_id is None
    assert cfg.policy.path == cfg.actor_rollout_ref.model.path == str(run.policy.path)
    assert (run.policy.path / "config.json").is_file()
    assert _fetched(entered)[1].policy == run.policy
    assert asked == [HUB_ID]


@pytest.mark.parametrize(
    ("error", "reason"), [("OSError", "no space"), ("GatedRepoError", "Access to it is restricted")]
)
def test_a_model_that_the_hub_does_not_give_is_one_line(cache, entered, monkeypatch, error, reason):
    import httpx
    import huggingface_hub

    from copris_core.verl_adapter import hub_model
    from copris_core.verl_adapter.errors import ConfigError

    def refuses(_hub_id, *, local_files_only=False, **_words):
        if local_files_only or error == "OSError":
            raise OSError(f"{reason}\nmore of it")
        answer = httpx.Response(403, request=httpx.Request("GET", "https://hub"))
        raise huggingface_hub.errors.GatedRepoError(f"{reason}\nmore of it", response=answer)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuses)
    monkeypatch.setattr(hub_model, "is_offline", lambda: False)
    with pytest.raises(ConfigError) as refusal:
        _fetched(entered)
    assert str(refusal.value) == (
        f"{HUB_ID} was not had from the hub ({reason}): give policy.path=FOLDER of a copy of it"
    )


# ---- what is checked of it ----


def test_a_model_that_is_not_here_is_noted(cache, entered):
    from copris_core.verl_adapter.model_check import model_notes

    _, run = entered("policy=hf", f"policy.path={HUB_ID}")
    assert [*model_notes(run)] == [
        f"{HUB_ID} is not here: fetched when training starts; not checked"
    ]
    _, run = entered("policy=r1_7b")
    assert "sizes are those of policy=r1_7b" in next(model_notes(run))


def test_positions_are_those_of_the_policy_group_until_the_model_is_here(cache, entered):
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.model_check import refuse_model

    cfg, run = entered("policy=qwen3_8b", "data.max_response_length=40000")
    refuse_model(run, cfg)
    cfg, run = entered("policy=qwen3_8b", "data.max_response_length=40960")
    with pytest.raises(ConfigError, match="exceed the 40960 positions of Qwen/Qwen3-8B"):
        refuse_model(run, cfg)


def test_a_folder_that_contradicts_its_policy_group_is_refused(cache, entered, tmp_path):
    from copris_core.verl_adapter.errors import ConfigError
    from copris_core.verl_adapter.model_check import model_config

    _, run = entered("policy=r1_1p5b")
    same = dict(run.policy.architecture)
    (tmp_path / "config.json").write_text(json.dumps(same))
    _, run = entered("policy=r1_1p5b", f"policy.path={tmp_path}")
    assert model_config(run.policy) == same
    (tmp_path / "config.json").write_text(json.dumps({**same, "num_hidden_layers": 36}))
    with pytest.raises(ConfigError) as refusal:
        model_config(run.policy)
    assert str(refusal.value) == (
        f"{tmp_path}/config.json has num_hidden_layers=36, policy=r1_1p5b 28: it is another model, "
        "use policy=hf"
    )
