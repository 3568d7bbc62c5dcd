"""Make a model of the Qwen2 architecture with random weights: for measuring speed, not answers.

The shape is Qwen2.5-0.5B's (huggingface.co/Qwen/Qwen2.5-0.5B, config.json), its vocabulary rounded
up to 163,840 tokens, which makes 505 million parameters. The tokenizer is the packaged tiny one,
filled up with words that no text is split into, so that every sampled token can be decoded.

Usage:
    python scripts/make_qwen2_model.py --out FOLDER           # 1 GB in bf16
    python scripts/make_qwen2_model.py --out FOLDER --small   # the same with 2 narrow layers
"""

import argparse
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

VOCABULARY = 163_840
POSITIONS = 16_384
SHAPE = {
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
}
SMALL_VOCABULARY = 1024
SMALL_SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 256,
}
TOKENIZER_OF = "tiny_days"
CONFIG, TEMPLATE = "config.json", "chat_template.jinja"
TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"


def model_config(*, small: bool) -> dict[str, Any]:
    """The fields of config.json that say how large the model is."""
    shape, vocabulary = (SMALL_SHAPE, SMALL_VOCABULARY) if small else (SHAPE, VOCABULARY)
    return {
        **shape,
        "vocab_size": vocabulary,
        "max_position_embeddings": POSITIONS,
        "tie_word_embeddings": True,
    }


def num_parameters(config: dict[str, Any]) -> int:
    """Of Qwen2: embedding (tied), q, k and v with bias, o, three matrices of the MLP, norms."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    attention = 2 * hidden * hidden + 2 * hidden * keys + hidden + 2 * keys
    layer = attention + 3 * hidden * inner + 2 * hidden
    return config["vocab_size"] * hidden + config["num_hidden_layers"] * layer + hidden


def fill_up(tokenizer: dict[str, Any], size: int) -> dict[str, Any]:
    """tokenizer.json with ``size`` tokens: new ones come without merges, so no text gives them."""
    vocabulary = tokenizer["model"]["vocab"]
    known = len(vocabulary) + sum(
        token["content"] not in vocabulary for token in tokenizer["added_tokens"]
    )
    more = {f"filler{number}": number for number in range(known, size)}
    return {**tokenizer, "model": {**tokenizer["model"], "vocab": {**vocabulary, **more}}}


def make(out: Path, *, small: bool, seed: int) -> int:
    """Write config, tokenizer and bf16 weights; how many weights."""
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    sources = Path(str(resources.files("copris_core"))) / "assets" / TOKENIZER_OF
    out.mkdir(parents=True, exist_ok=True)
    own = json.loads((sources / CONFIG).read_text())
    ends = {key: own[key] for key in ("eos_token_id", "pad_token_id", "bos_token_id")}
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(Qwen2Config(**model_config(small=small), **ends)).bfloat16()
    model.generation_config = GenerationConfig(
        eos_token_id=ends["eos_token_id"], pad_token_id=ends["pad_token_id"], do_sample=True
    )
    model.save_pretrained(out)
    shutil.copy(sources / TEMPLATE, out / TEMPLATE)
    told = json.loads((sources / TOKENIZER_CONFIG).read_text())
    (out / TOKENIZER_CONFIG).write_text(json.dumps({**told, "model_max_length": POSITIONS}))
    whole = json.loads((sources / TOKENIZER).read_text())
    size = model_config(small=small)["vocab_size"]
    (out / TOKENIZER).write_text(json.dumps(fill_up(whole, size), ensure_ascii=False))
    return int(model.num_parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--small", action="store_true", help="two narrow layers, for a CPU")
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    args = parser.parse_args()
    print(f"{make(args.out, small=args.small, seed=args.seed):,} weights in {args.out}")


if __name__ == "__main__":
    main()
