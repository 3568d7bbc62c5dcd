"""How old the tokens of a training batch are, from the policy version that sampled each of them.

Shapes: each tensor holds one response's tokens.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def staleness_metrics(versions: Sequence[Tensor], current_version: int) -> dict[str, float]:
    """Segments and lags of a batch.

    - ``staleness/segments_per_sample``: runs of tokens sampled by one version, mean per response
    - ``staleness/on_policy_token_fraction``: share of tokens sampled by ``current_version``
    - ``staleness/lag_mean``, ``lag_max``: policy versions between sampling and training, by token

    Args:
        versions: int [T] per response, T >= 1, never decreasing.
        current_version: the version under update.

    Raises:
        ValueError: no responses.
    """
    if not versions:
        raise ValueError("an empty batch has no staleness")
    lag = current_version - torch.cat(list(versions))
    segments = sum(1 + int((version[1:] != version[:-1]).sum()) for version in versions)
    return {
        "staleness/segments_per_sample": segments / len(versions),
        "staleness/on_policy_token_fraction": (lag == 0).double().mean().item(),
        "staleness/lag_mean": lag.double().mean().item(),
        "staleness/lag_max": float(lag.max()),
    }
