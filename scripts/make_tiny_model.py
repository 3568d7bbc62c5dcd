"""Make a tiny model that ships with the product: half a million weights, warmed up on its tasks.

It starts with bad habits that reinforcement learning can mend (see ``tasks/demonstrations.py``, and
``tasks/demonstrations_prorl.py`` for days, logic and instruction together).
The result depends on the recipe, the steps and the seed, never on the clock.

Usage:
    python scripts/make_tiny_model.py --out copris_core/assets/tiny_days
    python scripts/make_tiny_model.py --recipe prorl --out copris_core/assets/tiny_prorl
"""

import argparse
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

from copris_core.tasks.arithmetic import DaysTask, draw_problem
from copris_core.tasks.demonstrations import CLEAN, GUESS_PREFIX, NOISY, demonstrate
from copris_core.tasks.demonstrations_prorl import INSTRUCTION, LOGIC, Demonstrator
from copris_core.tasks.instruction_task import InstructionTask
from copris_core.tasks.logic_task import LogicTask
from copris_core.tasks.task import Row, Task

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"  # verl's Qwen code looks for END
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 4,  # head size 32: vLLM's CPU attention refuses 16
    "num_key_value_heads": 2,
}
TOKENS_PER_BATCH = 1024
EXAMPLES_PER_POOL = 512
CLEAN_PART = 0.7  # of the steps; the noisy mixture follows
PEAK_LR = 2e-3
LR_WARMUP_STEPS = 20
# The first tokens pick the strategy and the last ones are the answer: few, so they weigh more.
HEAD_TOKENS, TAIL_TOKENS, EDGE_WEIGHT = 14, 5, 4.0

Example = tuple[list[int], list[int]]  # prompt ids, response ids with END
Draw = Callable[[random.Random, bool], tuple[str, str]]  # clean or not -> question, demonstration


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a tiny model is made for."""

    vocab_size: int
    """Most tokens of the vocabulary, special ones included."""
    layers: int
    """Hidden layers."""
    steps: int
    """Optimizer steps of the warm-up."""
    max_new_tokens: int
    """Where a measured response is cut."""
    teacher: Callable[[int], Draw]
    """Seed -> what draws a training question with its demonstration."""
    tasks: Callable[[int], list[Task]]
    """Held-out problems of a task -> the tasks to measure on."""


def days_teacher(seed: int) -> Draw:
    """Draw problems of the days task."""

    def draw(rng: random.Random, clean: bool) -> tuple[str, str]:
        problem = draw_problem(rng, split="train")
        return problem.question, demonstrate(problem, rng, CLEAN if clean else NOISY)

    return draw


def prorl_teacher(seed: int) -> Draw:
    """Draw rows of days, logic and instruction."""
    demonstrator = Demonstrator(seed)
    return lambda rng, clean: demonstrator.draw(rng, clean=clean)


def prorl_tasks(problems: int) -> list[Task]:
    """The tasks of ``configs/task/tiny_mix.yaml``."""
    logic = LogicTask(val_rows=problems, **LOGIC)
    return [
        DaysTask(val_rows=problems),
        logic,
        InstructionTask(val_rows=problems, **INSTRUCTION),
    ]


RECIPES = {
    "days": Recipe(
        vocab_size=384,
        layers=3,
        steps=3200,
        max_new_tokens=640,
        teacher=days_teacher,
        tasks=lambda problems: [DaysTask(val_rows=problems)],
    ),
    "prorl": Recipe(
        vocab_size=512,
        layers=3,
        steps=4200,
        max_new_tokens=320,
        teacher=prorl_teacher,
        tasks=prorl_tasks,
    ),
}


def build_tokenizer(draw: Draw, rng: random.Random, vocab_size: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE under Qwen2's own splitting rule, which gives every digit its own token.

    AutoTokenizer uses that rule for model type qwen2 whatever was saved.
    """
    ends = {"unk_token": PAD, "pad_token": PAD, "eos_token": END}
    rule = Qwen2Tokenizer(**ends).backend_tokenizer
    backend = Tokenizer(models.BPE())
    backend.normalizer, backend.pre_tokenizer = rule.normalizer, rule.pre_tokenizer
    corpus = ["system\nuser\nassistant\n"] * 500
    for _ in range(3000):
        corpus += draw(rng, False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(corpus, trainer)
    bpe = json.loads(backend.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=bpe["vocab"],
        merges=[tuple(pair) for pair in bpe["merges"]],
        extra_special_tokens=[START],
        model_max_length=4096,
        **ends,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_model(tokenizer: PreTrainedTokenizerBase, layers: int, seed: int) -> Qwen2ForCausalLM:
    """Qwen2 architecture with seeded weights, float32."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        num_hidden_layers=layers,
        **SHAPE,
    )
    return Qwen2ForCausalLM(config)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """The prompt as verl's agent loop sends it."""
    messages = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer(text, add_special_tokens=False).input_ids


def draw_example(
    tokenizer: PreTrainedTokenizerBase, draw: Draw, rng: random.Random, *, clean: bool
) -> Example:
    """One training problem with its demonstration."""
    question, response = draw(rng, clean)
    ids = tokenizer(response, add_special_tokens=False).input_ids
    return prompt_ids(tokenizer, question), [*ids, tokenizer.eos_token_id]


def batches_of(examples: Sequence[Example]) -> Iterator[list[Example]]:
    """Group examples of similar length, so that little of a batch is padding."""
    batch: list[Example] = []
    for example in sorted(examples, key=lambda each: len(each[0]) + len(each[1])):
        length = len(example[0]) + len(example[1])
        if batch and length * (len(batch) + 1) > TOKENS_PER_BATCH:
            yield batch
            batch = []
        batch.append(example)
    yield batch


def weighted_loss(model: Qwen2ForCausalLM, batch: Sequence[Example], pad: int) -> torch.Tensor:
    """Cross-entropy of the response tokens, the first and last ones weighing more."""
    longest = max(len(prompt) + len(response) for prompt, response in batch)
    ids_BT = torch.full((len(batch), longest), pad)
    weight_BT = torch.zeros(len(batch), longest)
    for i, (prompt, response) in enumerate(batch):
        begin, end = len(prompt), len(prompt) + len(response)
        ids_BT[i, :end] = torch.tensor(prompt + response)
        weight_BT[i, begin:end] = 1.0
        weight_BT[i, begin : min(end, begin + HEAD_TOKENS)] = EDGE_WEIGHT
        weight_BT[i, max(begin, end - TAIL_TOKENS) : end] = EDGE_WEIGHT
    logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
    loss_BT = F.cross_entropy(logits_BTV.transpose(1, 2), ids_BT[:, 1:], reduction="none")
    return (loss_BT * weight_BT[:, 1:]).sum() / weight_BT[:, 1:].sum()


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then cosine down to a twentieth of the peak."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return PEAK_LR * min(1.0, (step + 1) / LR_WARMUP_STEPS) * (0.05 + 0.95 * cosine)


def warm_up(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    draw: Draw,
    *,
    steps: int,
    seed: int,
) -> None:
    """Train on clean demonstrations first, then on the noisy mixture."""
    rng = random.Random(f"warm-up {seed}")
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.01)
    waiting: list[list[Example]] = []
    clean, started = True, time.monotonic()
    for step in range(steps):
        if clean and step >= CLEAN_PART * steps:
            clean, waiting = False, []
        if not waiting:
            pool = [
                draw_example(tokenizer, draw, rng, clean=clean) for _ in range(EXAMPLES_PER_POOL)
            ]
            waiting = list(batches_of(pool))
            rng.shuffle(waiting)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        loss = weighted_loss(model, waiting.pop(), tokenizer.pad_token_id)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 100 == 99:
            seconds = time.monotonic() - started
            print(f"step {step + 1}/{steps} loss {loss.item():.3f} {seconds:.0f} s", flush=True)


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Store the weights as bfloat16 (half the size) under a config that loads them as float32."""
    weights = dict(model.named_parameters())  # names a tied weight once
    halves = {name: weight.detach().bfloat16() for name, weight in weights.items()}
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True
    )
    model.save_pretrained(folder, state_dict=halves)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)


@torch.no_grad()
def sample(
    model: Qwen2ForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    *,
    max_new_tokens: int,
    greedy: bool,
) -> list[str]:
    """One response to each row, at temperature 1 or greedy."""
    tokenizer.padding_side = "left"
    prompts = [prompt_ids(tokenizer, row.prompt[0].content) for row in rows]
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    ids_BT = model.generate(
        **batch,
        max_new_tokens=max_new_tokens,
        do_sample=not greedy,
        **({} if greedy else {"top_k": 0}),
    )
    width = batch["input_ids"].shape[1]
    return tokenizer.batch_decode(ids_BT[:, width:], skip_special_tokens=True)


def report(folder: Path, recipe: Recipe, *, problems: int, seed: int) -> None:
    """Print what the saved model does on the held-out split of each task."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for task in recipe.tasks(problems):
        rows = task.validation_rows()
        prompts = sorted(len(prompt_ids(tokenizer, row.prompt[0].content)) for row in rows)
        print(f"{task.name}: prompt tokens {_percentiles(prompts)}")
        for label, greedy in (("sampled", False), ("greedy", True)):
            texts = sample(
                model, tokenizer, rows, max_new_tokens=recipe.max_new_tokens, greedy=greedy
            )
            lengths = sorted(len(tokenizer(text).input_ids) + 1 for text in texts)
            print(f"{label}: {_verdicts(task, rows, texts)}, tokens {_percentiles(lengths)}")


def _verdicts(task: Task, rows: Sequence[Row], texts: Sequence[str]) -> str:
    scores: dict[str, list[float]] = defaultdict(list)
    for text, row in zip(texts, rows, strict=True):
        score = task.score(text, row.ground_truth).score
        kind = "guesses" if text.startswith(GUESS_PREFIX) else "worked out"
        about = row.facts.get("dataset", row.facts.get("constraints", ""))
        for group in {"all", kind, *str(about).split()}:
            scores[group].append(score)
    parts = [
        f"{name} {len(scores[name])} right {_mean(scores[name]):.3f}" for name in sorted(scores)
    ]
    return ", ".join(parts)


def _percentiles(lengths: Sequence[int]) -> str:
    places = ((q, lengths[q * (len(lengths) - 1) // 100]) for q in (50, 90, 99, 100))
    return " ".join(f"p{q} {length}" for q, length in places)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def main() -> None:
    """Warm up, save, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="days", help="tasks, shape")
    parser.add_argument("--steps", type=int, help="optimizer steps of the warm-up")
    parser.add_argument("--seed", type=int, default=0, help="weights, demonstrations, sampling")
    parser.add_argument("--problems", type=int, default=200, help="held-out problems of a task")
    args = parser.parse_args()
    torch.set_num_threads(1)  # more threads would change the sums, and so the result
    recipe = RECIPES[args.recipe]
    draw = recipe.teacher(args.seed)
    rng = random.Random(f"tokenizer {args.seed}")
    tokenizer = build_tokenizer(draw, rng, recipe.vocab_size)
    model = build_model(tokenizer, recipe.layers, args.seed)
    print(f"{model.num_parameters()} weights, {len(tokenizer)} tokens in the vocabulary")
    warm_up(model, tokenizer, draw, steps=args.steps or recipe.steps, seed=args.seed)
    save(model, tokenizer, args.out)
    report(args.out, recipe, problems=args.problems, seed=args.seed)


if __name__ == "__main__":
    main()
