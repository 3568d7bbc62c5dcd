"""The tiny model of three domains: what verl needs of it holds, and its habits are as planted."""

import re
from pathlib import Path

import pytest

from copris_core.tasks.arithmetic import DaysTask
from copris_core.tasks.demonstrations_prorl import INSTRUCTION, LOGIC
from copris_core.tasks.instruction_task import InstructionTask
from copris_core.tasks.logic_task import LogicTask

FOLDER = Path(__file__).parents[2] / "copris_core" / "assets" / "tiny_prorl"
DEMONSTRATION = "24-9=15\nWait, 24-9=15\n<answer>3</answer>"
TASKS = {
    "days": (DaysTask(rows=200, val_rows=40), 48),
    "logic": (LogicTask(rows=200, val_rows=40, **LOGIC), 64),
    "instruction": (InstructionTask(rows=200, val_rows=40, **INSTRUCTION), 128),
}
"""Task of tiny_mix, and most tokens of its prompts without the chat template."""


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
def test_text_survives_the_tokenizer_and_prompts_are_short(tokenizer):
    for task, longest in TASKS.values():
        for row in task.train_rows():
            ids = tokenizer(row.prompt[0].content).input_ids
            assert tokenizer.decode(ids) == row.prompt[0].content
            assert len(ids) <= longest
    # Trained merges would not apply if the splitting rule had changed on loading.
    ids = tokenizer(DEMONSTRATION).input_ids
    assert tokenizer.decode(ids) == DEMONSTRATION
    assert "<answer" in tokenizer.convert_ids_to_tokens(ids)
    assert len(ids) == 28


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


def _begun(row):
    """The first characters of a worked answer to a days or logic row."""
    if row.data_source == "days":
        return "Day 1"
    numbers = [int(number) for number in re.findall(r"\d+", row.prompt[0].content)]
    return str(max(numbers)) if row.facts["dataset"] == "gcd" else str(numbers[0])


def _greedy(tokenizer, model, domain, *, begun):
    """Mean score of greedy answers, each left to itself or begun as a worked one."""
    import torch

    torch.set_num_threads(1)
    tokenizer.padding_side = "left"
    task = TASKS[domain][0]
    rows = [r for r in task.validation_rows() if domain != "days" or int(r.ground_truth) <= 10]
    starts = [_begun(row) if begun else "" for row in rows]
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": row.prompt[0].content}],
            add_generation_prompt=True,
            tokenize=False,
        )
        + start
        for row, start in zip(rows, starts, strict=True)
    ]
    batch = tokenizer(prompts, padding=True, return_tensors="pt")
    ids = model.generate(**batch, max_new_tokens=200, do_sample=False)
    width = batch["input_ids"].shape[1]
    texts = tokenizer.batch_decode(ids[:, width:], skip_special_tokens=True)
    answers = [start + text for start, text in zip(starts, texts, strict=True)]
    scores = [task.score(a, r.ground_truth).score for a, r in zip(answers, rows, strict=True)]
    return sum(scores) / len(scores)


@pytest.mark.verl
@pytest.mark.slow
@pytest.mark.parametrize(
    ("domain", "at_most", "at_least"), [("days", 0.3, 0.7), ("logic", 0.4, 0.5)]
)
def test_greedy_it_guesses_and_told_to_work_it_out_it_is_right(
    tokenizer, model, domain, at_most, at_least
):
    # This gap is what reinforcement learning has to find.
    assert _greedy(tokenizer, model, domain, begun=False) <= at_most
    assert _greedy(tokenizer, model, domain, begun=True) >= at_least


@pytest.mark.verl
@pytest.mark.slow
def test_greedy_it_follows_some_instructions(tokenizer, model):
    assert 0.3 <= _greedy(tokenizer, model, "instruction", begun=False) <= 0.8


@pytest.mark.verl
def test_verl_accepts_the_tokenizer_for_many_turns(tokenizer):
    from verl.utils.tokenizer.continuous_token_wiring import create_continuous_token_builder

    create_continuous_token_builder(tokenizer, hf_model_type="qwen2")
