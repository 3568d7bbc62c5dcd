"""Prompts are tokenised as training does it, and what cannot fit is refused before any engine."""

import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

from copris_core.tasks.benchmarks import Benchmark, benchmarks
from copris_core.verl_adapter.errors import ConfigError
from copris_core.verl_adapter.eval_engine import positions_of
from copris_core.verl_adapter.eval_prompts import Prompt, Tokens, read_prompts, rows_digest
from copris_core.verl_adapter.eval_settings import EvalSettings

pytestmark = pytest.mark.verl

ASSET = Path(str(resources.files("copris_core"))) / "assets" / "tiny_days"


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(ASSET, trust_remote_code=False)


def _read(tokens: Tokens, *, positions: int | None = 4096, **changes: object) -> list[Prompt]:
    given = {"model": "m", "benchmarks": tuple(benchmarks("days")), "rows": 5, **changes}
    return read_prompts(EvalSettings(**given), tokens, positions=positions)  # type: ignore[arg-type]


def test_a_prompt_is_the_chat_template_filled_in(tokens: Tokens) -> None:
    first = _read(tokens)[0]
    assert (first.uid, first.task, first.data_source) == ("days:0", "days", "days")
    whole = tokens._tokenizer.decode(list(first.tokens))
    assert whole == f"<|im_start|>user\n{first.question}<|im_end|>\n<|im_start|>assistant\n"
    assert tokens.text(first.tokens) == f"user\n{first.question}\nassistant\n"


def test_a_benchmarks_own_limit_gives_way_to_the_models_positions(tokens: Tokens) -> None:
    longest = max(len(each.tokens) for each in _read(tokens))
    assert {each.max_tokens for each in _read(tokens)} == {1024}
    assert {each.max_tokens for each in _read(tokens, positions=longest + 100)} == {100}
    assert {each.max_tokens for each in _read(tokens, positions=None)} == {1024}


def test_the_users_limit_is_refused_where_it_cannot_fit(tokens: Tokens) -> None:
    longest = max(len(each.tokens) for each in _read(tokens))
    fits = _read(tokens, positions=longest + 100, max_tokens=100)
    assert {each.max_tokens for each in fits} == {100}
    with pytest.raises(ConfigError, match="use --max-tokens 100 or less"):
        _read(tokens, positions=longest + 100, max_tokens=101)
    with pytest.raises(ConfigError, match="take another model"):
        _read(tokens, positions=longest)


def test_the_digest_tells_rows_apart(tokens: Tokens) -> None:
    assert rows_digest(_read(tokens)) == rows_digest(_read(tokens))
    assert rows_digest(_read(tokens)) != rows_digest(_read(tokens, rows=4))


def test_seeds_stay_what_they_are(tokens: Tokens) -> None:
    """Of sha256("0 days:0 0"), six bytes; another would make every old folder another one."""
    first, second, *_ = _read(tokens)
    assert first.seed(0, 0) == 0x6856F20F06B7
    assert len({first.seed(0, 0), first.seed(0, 1), first.seed(1, 0), second.seed(0, 0)}) == 4


def test_a_model_without_a_chat_template_is_one_line(tmp_path: Path) -> None:
    model = tmp_path / "m"
    shutil.copytree(ASSET, model, ignore=shutil.ignore_patterns("chat_template.jinja"))
    with pytest.raises(ConfigError, match=r"put one into its folder as chat_template\.jinja"):
        Tokens(model, trust_remote_code=False)


def test_a_tokenizer_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(ASSET, tmp_path / "m")
    (tmp_path / "m" / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError) as error:
        Tokens(tmp_path / "m", trust_remote_code=False)
    assert "\n" not in str(error.value)


def test_a_task_without_what_it_needs_is_one_line(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Benchmark, trained_on: object) -> None:
        raise ValueError("reasoning-gym is missing: pip install it")

    monkeypatch.setattr(Benchmark, "rows", refuse)
    with pytest.raises(ConfigError, match="--task days: reasoning-gym is missing"):
        _read(tokens)
    monkeypatch.setattr(Benchmark, "rows", lambda self, trained_on: [])
    with pytest.raises(ConfigError, match="--task days has no rows"):
        _read(tokens)


def test_positions_are_those_of_the_text_part_of_a_model(tmp_path: Path) -> None:
    assert positions_of(ASSET) == 4096
    for described, found in (
        ({"text_config": {"max_position_embeddings": 77}}, 77),
        ({"n_ctx": 3}, None),
    ):
        (tmp_path / "config.json").write_text(json.dumps(described))
        assert positions_of(tmp_path) == found
