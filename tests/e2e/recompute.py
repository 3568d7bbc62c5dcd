"""Log-probs of a run's responses, recomputed offline under the weights that sampled them."""

from functools import cache
from itertools import groupby
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from tests.e2e.runs import Finished

TINY = Path(__file__).parents[2] / "copris_core" / "assets" / "tiny_days"
AGREE = 1e-4
"""Largest |engine - recomputed| log-prob, in nats, when the weights are the right ones."""


def segments(row: dict) -> list[tuple[int, int, int]]:
    """(version, begin, end) of each run of tokens that one version sampled."""
    runs, begin = [], 0
    for version, tokens in groupby(row["policy_version"]):
        end = begin + len(list(tokens))
        runs.append((version, begin, end))
        begin = end
    return runs


@cache
def _model(folder: Path, version: int) -> torch.nn.Module:
    saved = folder / "checkpoints" / f"global_step_{version}" / "actor" / "huggingface"
    model = AutoModelForCausalLM.from_pretrained(saved if version else TINY, dtype=torch.float32)
    return model.eval()


@torch.no_grad()
def _recomputed(folder: Path, version: int, row: dict) -> torch.Tensor:
    """[T] log-probs of the row's response under the weights of a version."""
    tokens = torch.tensor([row["prompts"] + row["responses"]])
    logp_TV = _model(folder, version)(tokens).logits[0].log_softmax(-1)
    response = tokens[0, len(row["prompts"]) :]
    return logp_TV[len(row["prompts"]) - 1 : -1].gather(1, response[:, None])[:, 0]


def reference_gap(run: Finished, *, steps: tuple[int, ...], weights_of_step: int) -> float:
    """Largest gap between the reference's log-probs in those steps and some saved weights' own."""
    gaps = [
        (_recomputed(run.folder, weights_of_step, row) - torch.tensor(row["ref_log_prob"])).abs()
        for row in run.trajectories
        if row["step"] in steps
    ]
    return torch.cat(gaps).max().item()


def worst_gap(run: Finished, *, versions_older: int) -> dict[tuple[str, int], float]:
    """Largest gap per segment, against the weights ``versions_older`` before its own."""
    gaps = {}
    for row in run.trajectories:
        engine = torch.tensor(row["rollout_log_probs"])
        for version, begin, end in segments(row):
            if version >= versions_older:
                ours = _recomputed(run.folder, version - versions_older, row)[begin:end]
                gaps[row["key"], begin] = (ours - engine[begin:end]).abs().max().item()
    return gaps
