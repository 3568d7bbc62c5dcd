"""What every model that ships must be: small, and as verl and vLLM need it."""

from pathlib import Path

import pytest

ASSETS = Path(__file__).parents[2] / "copris_core" / "assets"
NAMES = ("tiny_days", "tiny_prorl")


def test_these_are_all():
    assert sorted(folder.name for folder in ASSETS.iterdir() if folder.is_dir()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_folder_is_small_and_holds_no_optimizer_state(name):
    files = [file for file in (ASSETS / name).rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 1_500_000
    assert {file.name for file in files} == {
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.mark.verl
@pytest.mark.parametrize("name", NAMES)
def test_vocabulary_has_no_padding(name):
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(ASSETS / name, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / name, local_files_only=True)
    # The engine masks ids beyond the tokenizer's, the actor does not: padding biases log-probs.
    assert config.vocab_size == len(tokenizer)


@pytest.mark.verl
@pytest.mark.parametrize("name", NAMES)
def test_newline_is_one_token_and_digits_are_split(name):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ASSETS / name, local_files_only=True)
    assert len(tokenizer("\n").input_ids) == 1
    for number in range(100):
        digits = tokenizer(str(number), add_special_tokens=False).input_ids
        assert tokenizer.convert_ids_to_tokens(digits) == list(str(number))
