"""The shipped tiny model: it loads by the usual names, and verl's needs of it hold."""

from pathlib import Path

import pytest

from copris_core.tasks.arithmetic import DaysTask

FOLDER = Path(__file__).parents[2] / "copris_core" / "assets" / "tiny_days"
DEMONSTRATION = "Day 10: <<34-3=31>>\nWait, <<34-3=31>>\n#### 12"


@pytest.fixture(scope="module")
def tokenizer():
    """The tokenizer as verl and vLLM load it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model():
    """The model at its configured type."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True).eval()


@pytest.mark.verl
def test_text_survives_the_tokenizer_and_is_short(tokenizer):
    for row in DaysTask(rows=200).train_rows():
        ids = tokenizer(row.prompt[0].content).input_ids
        assert tokenizer.decode(ids) == row.prompt[0].content
        assert len(ids) <= 40
    ids = tokenizer(DEMONSTRATION).input_ids
    assert tokenizer.decode(ids) == DEMONSTRATION
    # Trained merges would not apply if the splitting rule had changed on loading.
    assert tokenizer.convert_ids_to_tokens(ids)[:6] == ["Day", "Ġ", "1", "0", ":", "Ġ<<"]
    assert len(ids) == 32


@pytest.mark.verl
def test_chat_template_ends_turns_with_the_token_generation_stops_at(tokenizer, model):
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


@pytest.mark.verl
def test_model_fits_the_engine_and_loads_as_float32(model):
    import torch

    config = model.config
    assert config.model_type == "qwen2"
    assert config.tie_word_embeddings
    assert config.max_position_embeddings >= 2048
    assert config.hidden_size // config.num_attention_heads >= 32
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.verl
def test_loading_as_bfloat16_keeps_every_weight(model):
    import torch
    from transformers import AutoModelForCausalLM

    half = AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True, dtype=torch.bfloat16)
    for name, weight in half.named_parameters():
        assert torch.equal(weight.float(), model.get_parameter(name))


@pytest.mark.verl
@pytest.mark.slow
def test_greedy_it_guesses_and_told_to_work_it_out_it_is_right(tokenizer, model):
    # This gap is what reinforcement learning has to find.
    import torch

    torch.set_num_threads(1)
    tokenizer.padding_side = "left"
    task = DaysTask(val_rows=40)
    rows = [row for row in task.validation_rows() if int(row.ground_truth) <= 10][:20]
    for start, low, high in (("", 0.0, 0.4), ("Day 1", 0.85, 1.0)):
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": row.prompt[0].content}],
                add_generation_prompt=True,
                tokenize=False,
            )
            + start
            for row in rows
        ]
        batch = tokenizer(prompts, padding=True, return_tensors="pt")
        ids = model.generate(**batch, max_new_tokens=200, do_sample=False)
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        scores = [task.score(t, r.ground_truth).score for t, r in zip(texts, rows, strict=True)]
        assert low <= sum(scores) / len(scores) <= high


@pytest.mark.verl
def test_verl_accepts_the_tokenizer_for_many_turns(tokenizer):
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    create_continuous_token_builder(tokenizer, hf_model_type="qwen2")
