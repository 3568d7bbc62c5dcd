"""What a newcomer downloads: exact pins, a light core, no trace of the author's machine."""

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
import tomllib

import copris_core

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements/cpu.lock", "requirements/gpu.txt")
SHELL = (".ci/run", "scripts/check", "scripts/*.sh", "recipes/*/*.sh")

# sha256 of https://www.apache.org/licenses/LICENSE-2.0.txt
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"

TRACES = {
    "a path of one machine": r"(?<![\w.])/(?:work|root|home|Users)/\w",
    "a proxy": r"(?i)https?_proxy\s*[=:]",
    "a host with its port": r"https?://(?!localhost|127\.0\.0\.1)[\w.-]+:\d",
    "a password in an address": r"://[^\s/:@{]+:[^\s/@{]+@",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30}",
    "an API key": r"\b(?:sk-|ghp_|gho_|github_pat_|AKIA|xox[bp]-)[A-Za-z0-9_-]{16}",
    "a 40-digit key": r"(?i)(?:api_?key|token)\W{1,4}[0-9a-f]{40}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE" + " KEY",
}


def published_texts() -> dict[str, str]:
    """Text of every file that git tracks or would add, by its path."""
    contents = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in published_files()}
    return {name: data.decode() for name, data in contents.items() if b"\0" not in data[:8192]}


def published_files() -> list[Path]:
    """What git tracks or would add; in an unpacked archive, what no tool has hidden."""
    if not (ROOT / ".git").exists():
        paths = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        hidden = {".venv", ".hypothesis", ".mypy_cache", ".ruff_cache", "__pycache__", "runs"}
        return [ROOT / path for path in paths if not hidden & set(path.parts)]
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    return [path for name in names.decode().split("\0") if (path := ROOT / name).is_file()]


def pins(name: str) -> list[str]:
    """The lines of a lock that name a package."""
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def project() -> dict[str, object]:
    """The `project` table of pyproject.toml."""
    table: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_the_core_needs_numpy_and_torch_only() -> None:
    assert project()["dependencies"] == ["numpy", "torch"]


def test_the_package_says_the_version_it_is_published_under() -> None:
    assert copris_core.__version__ == project()["version"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_one_exact_version(name: str) -> None:
    exact = re.compile(r"[A-Za-z0-9._-]+(\[[a-z-]+\])?==[0-9][A-Za-z0-9.+!]*")

    assert pins(name)
    assert [line for line in pins(name) if not exact.fullmatch(line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_package_twice(name: str) -> None:
    names = [re.split(r"[\[=]", line)[0].lower() for line in pins(name)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(("extra", "name"), [("cpu", LOCKS[0]), ("gpu", LOCKS[1])])
def test_an_extra_and_its_lock_agree_on_versions(extra: str, name: str) -> None:
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    locked = {without_extras(line) for line in pins(name)}

    assert {without_extras(line) for line in extras[extra]} - locked == set()


def without_extras(requirement: str) -> str:
    """`ray[default]==2.60.0` -> `ray==2.60.0`."""
    return re.sub(r"\[.*\]", "", requirement)


def test_the_licence_is_apache_2() -> None:
    assert project()["license"] == "Apache-2.0"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_no_published_text_keeps_a_trace_of_a_machine_or_a_secret() -> None:
    texts = published_texts()
    traces = [
        f"{name}: {what}: {match.group()}"
        for name, text in texts.items()
        for what, pattern in TRACES.items()
        if (match := re.search(pattern, text))
    ]

    assert "pyproject.toml" in texts
    assert traces == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a path of one machine", "path: /" + "home/me/data"),
        ("a path of one machine", "cd /" + "work/main"),
        ("a proxy", "export HTTPS_" + "PROXY=x"),
        ("a host with its port", "http://cluster7" + ":8265"),
        ("a password in an address", "https://me:secret" + "@example.org"),
        ("a Hugging Face token", "hf" + "_" + "a" * 34),
        ("an API key", "sk" + "-" + "b" * 20),
        ("a 40-digit key", "WANDB_API_KEY=" + "0f" * 20),
        ("a private key", "-----BEGIN RSA PRIVATE" + " KEY-----"),
    ],
)
def test_each_kind_of_trace_is_recognised(what: str, text: str) -> None:
    assert re.search(TRACES[what], text)


@pytest.mark.parametrize("text", ["verl/workers/config", "${HOME}/x", "http://localhost:8000"])
def test_what_only_looks_like_a_trace_is_let_through(text: str) -> None:
    assert not [what for what, pattern in TRACES.items() if re.search(pattern, text)]


def test_every_shell_script_stops_at_its_first_error_and_can_be_run() -> None:
    scripts = [path for pattern in SHELL for path in ROOT.glob(pattern)]
    careless = [path for path in scripts if "\nset -euo pipefail\n" not in path.read_text()]

    assert len(scripts) >= 5
    assert careless == []
    assert [path for path in scripts if not path.stat().st_mode & 0o100] == []


def test_every_folder_of_python_that_is_shipped_is_a_package() -> None:
    folders = {
        path.parent for top in ("copris_core", "recipes") for path in (ROOT / top).rglob("*.py")
    }

    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_contributing_fits_on_a_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60
