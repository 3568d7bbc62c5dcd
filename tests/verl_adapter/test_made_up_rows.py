"""Rows that verl makes up to fill a batch, beside advantages that were set before."""

import pytest
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size

from copris_core.verl_adapter.row_names import lengths_of
from copris_core.verl_adapter.trainer import SyncTrainer
from tests.verl_adapter.local_queue import LocalQueue

pytestmark = pytest.mark.verl


def test_a_made_up_row_of_one_token_has_one_advantage(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = LocalQueue(monkeypatch)
    for key in ("a_0_0", "b_0_0", "c_0_0"):
        queue.add(key, response_mask=[1, 1, 1], advantages=[0.5] * 3, returns=[0.5] * 3)
    batch = upsample_batch_to_divisible_size(queue.batch("a_0_0", "b_0_0", "c_0_0"), 4, 0)
    *real, made_up = batch.keys
    assert len(queue.rows["train"][made_up]["advantages"]) == 3  # verl copies those of row 0
    SyncTrainer._clear_padding(object.__new__(SyncTrainer), batch)
    row = queue.rows["train"][made_up]
    assert {len(row[name]) for name in ("advantages", "returns", "responses")} == {1}
    assert float(row["advantages"].sum()) == 0
    assert all(queue.rows["train"][key]["advantages"].tolist() == [0.5] * 3 for key in real)
    assert list(lengths_of(batch)) == real  # what the ledger is told to have been trained
