"""What a decoder-only transformer costs, by the fields of its config.json.

Dense models of the Llama kind: grouped-query attention, a gated MLP, RMSNorm. This file refuses to
know files, GPUs and settings of a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from copris_core.simulator.presets import BF16_BYTES, kv_bytes_per_token

QKV_BIAS: Final = ("qwen2",)
"""Kinds of model (``model_type``) with a bias on queries, keys and values."""
QK_NORM: Final = ("qwen3",)
"""Kinds of model that normalise queries and keys, head by head."""
KINDS: Final = ("llama", "mistral", *QKV_BIAS, *QK_NORM)
"""Kinds of model whose parameters are counted here."""

FIELDS: Final = {
    "hidden_size": "hidden",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "intermediate_size": "intermediate",
    "vocab_size": "vocab",
    "max_position_embeddings": "positions",
}
"""Whole numbers of a config.json that are needed, and our names for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A model by its sizes."""

    kind: str
    """``model_type``, one of ``KINDS``."""
    hidden: int
    """H, width of the residual stream."""
    layers: int
    """Decoder layers."""
    heads: int
    """Attention heads."""
    kv_heads: int
    """Heads of keys and values."""
    head_dim: int
    """Width of a head."""
    intermediate: int
    """I, width of the gated MLP."""
    vocab: int
    """Rows of the embedding."""
    positions: int
    """Most tokens of prompt and response."""
    tied: bool
    """Whether embedding and output layer are one matrix."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Architecture":
        """Read the fields of a config.json; ``head_dim`` defaults to hidden / heads.

        Raises:
            ValueError: a kind that is not counted here, or a field is missing or no whole number.
        """
        kind = str(config.get("model_type"))
        if kind not in KINDS:
            raise ValueError(f"model_type={kind} is none of {', '.join(KINDS)}")
        for field in FIELDS:
            if type(config.get(field)) is not int or config[field] < 1:
                raise ValueError(f"{field} is {config.get(field)}, not a whole number from 1")
        even = config["hidden_size"] // config["num_attention_heads"]
        return cls(
            kind=kind,
            head_dim=config.get("head_dim") or even,
            tied=bool(config.get("tie_word_embeddings", False)),
            **{name: config[field] for field, name in FIELDS.items()},
        )

    @property
    def query_dim(self) -> int:
        """Width of all queries of a token."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all keys, or all values, of a token in a layer."""
        return self.kv_heads * self.head_dim

    @property
    def layer_params(self) -> int:
        """Parameters of one layer.

        Attention 2 H (q + kv), MLP 3 H I, two norms 2 H; Qwen2 has q + 2 kv biases, Qwen3 two norms
        of a head's width.
        """
        attention = 2 * self.hidden * (self.query_dim + self.kv_dim)
        mlp = 3 * self.hidden * self.intermediate
        bias = self.query_dim + 2 * self.kv_dim if self.kind in QKV_BIAS else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.kind in QK_NORM else 0)
        return attention + mlp + bias + norms

    @property
    def outer_params(self) -> int:
        """Parameters outside the layers: embedding, output layer unless tied, last norm."""
        return (1 if self.tied else 2) * self.vocab * self.hidden + self.hidden

    @property
    def params(self) -> int:
        """P, all parameters."""
        return self.layers * self.layer_params + self.outer_params

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in bf16."""
        return BF16_BYTES * self.params

    def kv_bytes(self, *, tensor_parallel: int = 1) -> int:
        """Bytes of KV cache a token takes on one GPU, in bf16.

        2 x layers x KV heads x head_dim x 2 B. Tensor parallelism divides the heads; where there
        are fewer heads than GPUs, each has a whole one (vLLM repeats them).
        """
        return kv_bytes_per_token(
            layers=self.layers,
            kv_heads=-(-self.kv_heads // tensor_parallel),
            head_dim=self.head_dim,
            element_bytes=BF16_BYTES,
        )
