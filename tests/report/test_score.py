"""Runs compare in what the verifier gave, whatever was filtered, shaped or trained."""

import pytest

from copris_core.report.progress import ProgressState
from copris_core.report.score import score

ROW = {"step": 3, "time_s": 9.0, "reward/mean": 0.5}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, 0.5),
        ({"reward/score_mean": 0.7}, 0.7),
        ({"reward/score_mean": 0.7, "filter/score_mean": 0.2}, 0.2),
        ({"filter/score_mean": None}, 0.5),
    ],
)
def test_the_score_is_of_all_groups_before_any_shaping(more, expected) -> None:
    assert score({**ROW, **more}) == expected


def test_a_row_that_does_not_say_has_no_score() -> None:
    assert score({"step": 3, "time_s": 9.0}) is None


def test_a_validation_of_several_domains_is_no_training_step() -> None:
    """As a resumed run writes it: it must not take away the reward that was shown."""
    rows = [
        {**ROW, "timing_s/step": 1.0},
        {"step": 3, "time_s": 10.0, "val/accuracy": 0.4, "val/n": 9, "val/logic/accuracy": 0.4},
    ]
    progress = ProgressState(total_steps=5).advance(rows)
    assert (progress.reward, progress.accuracy) == (0.5, 0.4)
