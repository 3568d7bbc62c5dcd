"""Which sets training may neither train on nor choose by."""

import pytest

from copris_core.tasks.benchmarks import TEST_SETS as MEASURED_ON
from copris_core.tasks.held_out import TEST_SETS, is_test_set, refuse_test_set


def test_a_test_set_is_refused_in_one_line_with_both_mends():
    with pytest.raises(ValueError, match="is a test set") as told:
        refuse_test_set("HuggingFaceH4/math-500", key="task.val_path", mend="set it to null")
    assert str(told.value) == (
        "task.val_path=HuggingFaceH4/math-500 is a test set, which training may not see: measure "
        "on it by `copris eval --task math500`, and set it to null"
    )


@pytest.mark.parametrize("place", [None, "", "rows.jsonl", "openai/gsm8k", "some/set"])
def test_anything_else_is_accepted(place):
    refuse_test_set(place, key="task.val_path", mend="")
    assert not is_test_set(place or "")


def test_every_set_that_is_measured_on_is_kept_from_training():
    # GSM8K's rows to train on are under the same id, so its test split is refused where it is read.
    for name, measured in MEASURED_ON.items():
        if name != "gsm8k":
            assert TEST_SETS[measured.hub_id.casefold()] == name


def test_what_a_refusal_names_can_be_measured_on():
    assert set(TEST_SETS.values()) <= MEASURED_ON.keys() | {"code", "instruction"}
