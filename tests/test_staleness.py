"""Segments and lags, by hand."""

import pytest
import torch

from copris_core.staleness import staleness_metrics


def test_segments_and_lags_of_two_responses() -> None:
    # Version 5 is updated. First response: 2 tokens of version 3, 1 of 5. Second: 1 token of 4.
    found = staleness_metrics([torch.tensor([3, 3, 5]), torch.tensor([4])], 5)
    assert found == {
        "staleness/segments_per_sample": 1.5,
        "staleness/on_policy_token_fraction": 0.25,
        "staleness/lag_mean": (2 + 2 + 0 + 1) / 4,
        "staleness/lag_max": 2,
    }


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        staleness_metrics([], 0)
