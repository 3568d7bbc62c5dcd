"""Lengths are read from runs and lists, fitted, written, and read back; bad ones get one line."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from copris_core.rollout.events import Event, Fact
from copris_core.rollout.ledger import Ledger
from copris_core.simulator.lengths import EmpiricalLengths, LognormalLengths
from copris_core.simulator.lengths_file import measure, read_lengths, to_yaml
from copris_core.simulator.lengths_fit import fit_batches, fit_lengths

TRUE = LognormalLengths(median=60, sigma=0.9, cap=300)


def _drawn(lengths: LognormalLengths, num_groups: int, *, size: int = 8) -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [lengths.draw(rng, size) for _ in range(num_groups)]


def _flat(groups: Sequence[Sequence[int]]) -> list[int]:
    return [length for group in groups for length in group]


def _list(path: Path, text: str) -> Path:
    file = path / "lengths.txt"
    file.write_text(text)
    return file


def _metrics(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file = path / "metrics.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def _batches(lengths: LognormalLengths, num: int) -> list[dict[str, Any]]:
    """Rows as a run writes them, of batches of 32."""
    rows: list[dict[str, Any]] = [{"step": 0, "val/accuracy": 0.5}]
    for step, group in enumerate(_drawn(lengths, num, size=32), start=1):
        ordered = sorted(group)
        quantiles = {f"length/drawn_p{q}": ordered[min(31, q * 32 // 100)] for q in (50, 90, 99)}
        rows.append({"step": step, "samples/trained": 32, **quantiles})
    return rows


# ---- the fit ----


def test_a_fit_finds_the_distribution_behind_capped_lengths() -> None:
    tokens = _flat(_drawn(TRUE, 1000))
    fit = fit_lengths(tokens, cap=300)
    assert fit.lengths.median == pytest.approx(60, rel=0.03)
    assert fit.lengths.sigma == pytest.approx(0.9, rel=0.03)
    assert fit.share_at_cap == sum(length == 300 for length in tokens) / 8000
    assert fit.fitted_share_at_cap == pytest.approx(fit.share_at_cap, abs=0.01)
    assert fit.is_good
    assert [each.part for each in fit.quantiles] == [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99]


def test_two_kinds_of_responses_are_no_lognormal_and_the_fit_says_so() -> None:
    fit = fit_lengths([20] * 500 + [2000] * 500)
    assert not fit.is_good
    assert fit.worst_error > 0.3


def test_a_tail_of_few_lengths_is_not_held_against_the_fit() -> None:
    # The standard error of the 99th percentile of 400 is 0.9 sqrt(0.99 x 0.01 / 400) / 0.0267 = 17%
    fit = fit_lengths(_flat(_drawn(LognormalLengths(median=60, sigma=0.9, cap=10**6), 50)))
    assert fit.quantiles[-1].chance == pytest.approx(0.17 * fit.lengths.sigma / 0.9, rel=0.02)
    assert fit.is_good
    tail = fit.quantiles[-1]
    off = dataclasses.replace(tail, fitted=tail.measured * (1 + 2.2 * tail.chance))
    assert not off.is_good
    assert dataclasses.replace(off, fitted=tail.measured * (1 + 1.8 * tail.chance)).is_good
    assert not dataclasses.replace(off, fitted=tail.measured * 1.11, chance=0.0).is_good
    assert dataclasses.replace(off, fitted=tail.measured * 1.09, chance=0.0).is_good


def test_equal_lengths_have_no_spread() -> None:
    fit = fit_lengths([64] * 40)
    assert (fit.lengths.median, fit.lengths.sigma, fit.lengths.cap) == (64, 0, 64)
    assert fit.share_at_cap == 1.0
    below = fit_lengths([64] * 40, cap=100)
    assert (below.lengths.median, below.lengths.sigma, below.share_at_cap) == (
        pytest.approx(64),
        0,
        0.0,
    )


def test_siblings_tell_how_much_the_prompt_decides() -> None:
    shared = LognormalLengths(median=60, sigma=0.9, cap=10**6, prompt_share=0.5)
    groups = _drawn(shared, 600)
    fit = fit_lengths(_flat(groups), groups=groups)
    assert fit.lengths.prompt_share == pytest.approx(0.5, abs=0.06)
    alone = _drawn(LognormalLengths(median=60, sigma=0.9, cap=10**6), 600)
    assert fit_lengths(_flat(alone), groups=alone).lengths.prompt_share < 0.03
    assert fit_lengths(_flat(groups)).lengths.prompt_share == 0.0


def test_quantiles_of_batches_give_the_distribution_back() -> None:
    batches = [
        (32, {q: sorted(group)[min(31, q * 32 // 100)] for q in (50, 90, 99)})
        for group in _drawn(LognormalLengths(median=60, sigma=0.9, cap=10**6), 300, size=32)
    ]
    fit = fit_batches(batches, cap=10**6)
    assert fit.lengths.median == pytest.approx(60, rel=0.04)
    assert fit.lengths.sigma == pytest.approx(0.9, rel=0.04)
    assert (fit.num, fit.share_at_cap) == (9600, None)


def test_a_percentile_that_mostly_hits_the_cap_is_left_out() -> None:
    # One in eight batches of 32 has a p90 at the cap of 300 and nearly all have their longest there
    batches = [
        (32, {q: sorted(group)[min(31, q * 32 // 100)] for q in (50, 90, 99)})
        for group in _drawn(LognormalLengths(median=60, sigma=0.9, cap=250), 300, size=32)
    ]
    fit = fit_batches(batches, cap=250)
    assert fit.lengths.sigma == pytest.approx(0.9, rel=0.08)


def test_batches_that_are_nearly_all_at_the_cap_tell_no_spread() -> None:
    with pytest.raises(ValueError, match="most steps reach the cap of 100 tokens"):
        fit_batches([(32, {50: 60, 90: 100, 99: 100})] * 5, cap=100)


# ---- the files ----


def test_a_list_is_read_one_number_a_line_or_as_json(tmp_path: Path) -> None:
    for text in ("3\n5\n\n 7 \n", "[3, 5, 7.0]"):
        assert measure(_list(tmp_path, text)).tokens == (3, 5, 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lengths.txt is empty: give one length in tokens a line, or a JSON list"),
        (" \n\n", "is empty"),
        ("[]", "is empty"),
        ("12\nabc\n", "lengths.txt line 2: 'abc' is no whole number of tokens"),
        ("12\n\n1.5\n", "line 3: '1.5' is no whole number"),
        ("12\nnan\n", "line 2: 'nan' is no whole number"),
        ("12\ninf\n", "line 2: 'inf' is no whole number"),
        ("12\n0\n", "line 2: a response has at least 1 token, got 0"),
        ("12\n-7\n", "line 2: a response has at least 1 token, got -7"),
        ("[12, -7]", "item 2: a response has at least 1 token, got -7"),
        ('[12, "x"]', "item 2: 'x' is no whole number"),
        ("[12, true]", "item 2: True is no whole number"),
        ("[12, 13", "is no JSON list"),
    ],
)
def test_a_list_that_is_none_gets_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"lengths\.txt") as caught:
        measure(_list(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_cap_below_the_lengths_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no lengths at .*nowhere"):
        measure(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"lengths.txt: a response of 70 tokens is longer than"):
        measure(_list(tmp_path, "30\n70\n"), cap=50)


def test_metrics_are_read_by_step_and_the_cap_is_the_runs(tmp_path: Path) -> None:
    file = _metrics(tmp_path, _batches(TRUE, 200))
    (tmp_path / "config.yaml").write_text("data:\n  max_response_length: 300\n")
    for path in (file, tmp_path):
        measured = measure(path)
        assert measured.fit.lengths.cap == 300
        assert measured.fit.lengths.median == pytest.approx(60, rel=0.08)
        assert measured.fit.lengths.sigma == pytest.approx(0.9, rel=0.1)
        assert measured.tokens == ()
        assert measured.best == measured.fit.lengths
    with pytest.raises(ValueError, match="has quantiles and no single lengths"):
        _ = measure(file).empirical


def test_pruning_is_taken_out_of_the_number_of_responses(tmp_path: Path) -> None:
    row = {"length/drawn_p50": 50, "length/drawn_p90": 90, "length/drawn_p99": 99}
    pruned = {**row, "samples/trained": 16, "cppo/kept_fraction": 0.5}
    assert measure(_metrics(tmp_path, [pruned])).fit.num == 32


def test_metrics_without_lengths_or_with_a_broken_row_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no step tells of lengths"):
        measure(_metrics(tmp_path, [{"step": 0}]))
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 0}\nnonsense\n{"st')
    with pytest.raises(ValueError, match=r"metrics.jsonl line 2 is no JSON"):
        measure(file)


def test_a_last_row_torn_by_a_kill_is_left_out(tmp_path: Path) -> None:
    rows = _batches(TRUE, 5)
    file = _metrics(tmp_path, rows)
    whole = measure(file).fit
    file.write_text(file.read_text() + json.dumps(rows[1])[:-9])
    assert measure(file).fit == whole


def test_a_ledger_beside_the_metrics_tells_every_length_and_its_prompt(tmp_path: Path) -> None:
    shared = LognormalLengths(median=60, sigma=0.9, cap=300, prompt_share=0.7)
    groups = _drawn(shared, 150)
    facts = []
    for number, group in enumerate(groups):
        facts.append(Fact(Event.DRAWN, 0, uid=f"u{number}", size=8))
        for index, length in enumerate(group):
            facts.append(Fact(Event.FINISHED, 0, uid=f"u{number}", index=index, tokens=length))
    # a restart samples the last one again: only the second time counts
    facts.append(Fact(Event.FINISHED, 0, uid="u149", index=7, tokens=299))
    Ledger(tmp_path / "ledger.jsonl").append(facts)
    file = _metrics(tmp_path, _batches(TRUE, 3))
    measured = measure(file, cap=300)
    assert sorted(measured.tokens) == sorted([*_flat(groups)[:-1], 299])
    assert measured.fit.lengths.prompt_share == pytest.approx(0.7, abs=0.1)
    assert measured.empirical.prompt_share == measured.fit.lengths.prompt_share


def test_a_ledger_in_which_nothing_has_finished_gets_one_line(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.jsonl").append([Fact(Event.DRAWN, 0, uid="u", size=8)])
    with pytest.raises(ValueError, match="no response has finished yet"):
        measure(tmp_path / "ledger.jsonl")


# ---- lengths.yaml ----


@pytest.mark.parametrize(
    "lengths",
    [
        LognormalLengths(median=61.5, sigma=0.875, cap=1024, prompt_share=0.25),
        EmpiricalLengths(tokens=(3, 5, 5, 90)),
    ],
)
def test_what_is_written_is_read_back(
    tmp_path: Path, lengths: LognormalLengths | EmpiricalLengths
) -> None:
    file = tmp_path / "lengths.yaml"
    file.write_text(to_yaml(lengths, heading="640 responses"))
    assert read_lengths(file) == lengths


def test_many_lengths_are_thinned_and_stay_the_same_distribution(tmp_path: Path) -> None:
    tokens = tuple(range(1, 100_001))
    file = tmp_path / "lengths.yaml"
    file.write_text(to_yaml(EmpiricalLengths(tokens=tokens), heading="many"))
    read = read_lengths(file)
    assert isinstance(read, EmpiricalLengths)
    assert len(read.tokens) == 10_000
    for part in (0.01, 0.5, 0.99):
        assert np.quantile(read.tokens, part) == pytest.approx(100_000 * part, rel=0.01)


def test_a_plan_takes_a_list_or_a_run_as_it_is(tmp_path: Path) -> None:
    two_kinds = [20] * 50 + [2000] * 50
    file = _list(tmp_path, json.dumps(two_kinds))
    assert read_lengths(file) == EmpiricalLengths(tokens=tuple(two_kinds))
    good = _list(tmp_path, json.dumps(_flat(_drawn(TRUE, 200))))
    assert isinstance(read_lengths(good, cap=300), LognormalLengths)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it needs kind: lognormal or empirical"),
        ("kind: normal\n", "it needs kind"),
        ("kind: lognormal\nmedian: 5\ncap: 10\n", "kind: lognormal lacks sigma"),
        ("kind: empirical\ntokens: [1]\nmean: 3\n", "kind: empirical has no mean"),
        ("kind: empirical\ntokens: []\n", "non-empty list"),
        ("kind: empirical\ntokens: [3, x]\n", "tokens holds 'x', which is no number"),
        ("kind: empirical\ntokens: [3, -1]\n", "at least 1 token, got -1"),
        ("kind: lognormal\nmedian: high\nsigma: 1\ncap: 10\n", "median holds 'high'"),
        ("kind: lognormal\nmedian: 6\nsigma: 1\ncap: 10.5\n", "cap: 10.5 is no whole number"),
        ("kind: lognormal\nmedian: 60\nsigma: 1\ncap: 10\n", "a cap of 10 tokens and a median"),
        ("kind: [", "is not YAML"),
    ],
)
def test_a_lengths_file_that_is_none_gets_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "lengths.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"lengths.yaml") as caught:
        read_lengths(file)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_text() == text
