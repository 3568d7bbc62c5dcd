"""What one response keeps over its segments: every token, its log-prob, its version, its budget."""

import copy
import dataclasses
import math
from array import array
from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copris_core.rollout.states import IllegalMoveError, check_move
from copris_core.rollout.trajectory import MOVES, Segment, Status, Trajectory, is_interrupted

LEGAL = {
    (Status.WAITING, Status.RUNNING),
    (Status.RUNNING, Status.PAUSED),
    (Status.RUNNING, Status.FINISHED),
    (Status.PAUSED, Status.RUNNING),
}
ILLEGAL = sorted(
    set(product(Status, Status)) - LEGAL, key=lambda pair: (pair[0].name, pair[1].name)
)

FLOAT32 = st.floats(width=32, allow_nan=False)
SAMPLED = st.lists(st.tuples(st.integers(0, 2**31 - 1), FLOAT32), max_size=30)


def _segment(*tokens: int, version: int = 0) -> Segment:
    return Segment.sampled(tokens, [-token / 8 for token in tokens], version)


def _running(*, prompt: tuple[int, ...] = (7,), max_tokens: int = 8) -> Trajectory:
    response = Trajectory(prompt=prompt, max_tokens=max_tokens)
    response.start()
    return response


def _in_status(status: Status) -> Trajectory:
    response = Trajectory(prompt=(7,), max_tokens=8)
    if status is not Status.WAITING:
        response.start()
    if status in (Status.PAUSED, Status.FINISHED):
        response.absorb(_segment(1, 2), finished=status is Status.FINISHED)
    assert response.status is status
    return response


CALLS: dict[Status, Callable[[Trajectory], object]] = {
    Status.RUNNING: Trajectory.start,
    Status.PAUSED: lambda response: response.absorb(_segment(3), finished=False),
    Status.FINISHED: lambda response: response.absorb(_segment(3), finished=True),
}


# ---- golden ----


def test_two_interruptions_join_to_one_response() -> None:
    response = Trajectory(prompt=(100, 101), max_tokens=8)
    assert response.oldest_version is None
    assert response.start() == [100, 101]
    response.absorb(Segment.sampled([1, 2], [-0.5, -0.25], 3), finished=False)
    assert response.start() == [100, 101, 1, 2]  # re-prefill: prompt and everything so far
    response.absorb(Segment.sampled([3], [-1.0], 4), finished=False)
    assert response.start() == [100, 101, 1, 2, 3]
    response.absorb(Segment.sampled([4, 5], [-2.0, -0.125], 6), finished=True)
    assert response.tokens() == [1, 2, 3, 4, 5]
    assert response.logps() == [-0.5, -0.25, -1.0, -2.0, -0.125]
    assert response.versions() == [3, 3, 4, 6, 6]
    assert (response.num_tokens, response.remaining_tokens) == (5, 8 - 5)
    assert response.oldest_version == 3
    assert response.status is Status.FINISHED


def test_an_interrupted_response_that_used_its_budget_is_finished() -> None:
    response = _running(max_tokens=3)
    response.absorb(_segment(1, 2), finished=False)
    assert response.status is Status.PAUSED
    response.start()
    response.absorb(_segment(3), finished=False)  # 2 + 1 = 3 tokens: nothing is left to sample
    assert (response.status, response.remaining_tokens) == (Status.FINISHED, 0)


@pytest.mark.parametrize(
    ("aborted", "num_tokens", "resumes"),
    [(True, 0, True), (True, 2, True), (True, 3, False), (False, 0, False), (False, 3, False)],
)
def test_only_an_abort_that_left_budget_is_an_interruption(
    aborted: bool, num_tokens: int, resumes: bool
) -> None:
    assert is_interrupted(aborted=aborted, num_tokens=num_tokens, max_tokens=3) is resumes


def test_a_response_may_finish_before_its_budget() -> None:
    response = _running(max_tokens=3)
    response.absorb(_segment(1), finished=True)
    assert (response.status, response.remaining_tokens) == (Status.FINISHED, 2)


def test_a_token_more_than_the_budget_is_refused_and_changes_nothing() -> None:
    response = _running(max_tokens=3)
    response.absorb(_segment(1, 2), finished=False)
    response.start()
    before = copy.deepcopy(response)
    with pytest.raises(ValueError, match="2 tokens came back, 1 were left"):
        response.absorb(_segment(3, 4), finished=True)
    assert response == before


def test_an_abort_before_the_first_token_leaves_no_segment() -> None:
    response = _running()
    response.absorb(_segment(version=5), finished=False)
    assert (response.status, response.segments) == (Status.PAUSED, [])
    assert response.oldest_version is None
    assert response.start() == [7]
    response.absorb(_segment(1, version=6), finished=True)
    assert response.oldest_version == 6  # the version of the first token, not of the first try


def test_a_response_without_budget_finishes_empty() -> None:
    response = _running(max_tokens=0)
    response.absorb(_segment(), finished=False)
    assert (response.status, response.tokens()) == (Status.FINISHED, [])


# ---- segments ----


@pytest.mark.parametrize(("num_tokens", "num_logps"), [(2, 1), (1, 2), (1, 0)])
def test_each_token_needs_its_log_prob(num_tokens: int, num_logps: int) -> None:
    mend = "set actor_rollout_ref.rollout.calculate_log_probs=True"
    counts = f"{num_tokens} tokens but {num_logps} log-probs"
    with pytest.raises(ValueError, match=f"{counts}; {mend}"):
        Segment.sampled([1] * num_tokens, [-1.0] * num_logps, 0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_log_prob_that_is_not_a_number_is_refused(place: int) -> None:
    logps = [-1.0, -1.0, -1.0]
    logps[place] = math.nan
    with pytest.raises(ValueError, match="NaN"):
        Segment.sampled([1, 2, 3], logps, 0)


def test_a_segment_is_a_packed_copy_that_cannot_be_changed() -> None:
    tokens, logps = [1, 2], [-1.0, -2.0]
    segment = Segment.sampled(tokens, logps, 0)
    tokens[0], logps[0] = 9, -9.0
    assert (list(segment.tokens), list(segment.logps)) == ([1, 2], [-1.0, -2.0])
    assert (segment.tokens.itemsize, segment.logps.itemsize) == (4, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        segment.version = 1  # type: ignore[misc]


def test_a_wider_log_prob_is_rounded_to_the_nearest_float32() -> None:
    # 0.1 in binary, cut to 24 significant bits: 13421773 / 2**27
    assert list(Segment.sampled([1], [-0.1], 0).logps) == [-13421773 / 2**27]


# ---- the table ----


def test_the_table_lists_these_moves_and_no_other() -> None:
    assert {(now, to) for now, tos in MOVES.items() for to in tos} == LEGAL


@pytest.mark.parametrize(("now", "to"), sorted(LEGAL, key=str))
def test_every_legal_move_is_reached_by_its_call(now: Status, to: Status) -> None:
    response = _in_status(now)
    CALLS[to](response)
    assert response.status is to


@pytest.mark.parametrize(("now", "to"), ILLEGAL)
def test_every_illegal_move_is_refused_by_name(now: Status, to: Status) -> None:
    with pytest.raises(IllegalMoveError, match=f"^me: illegal move {now.name} -> {to.name}$"):
        check_move(MOVES, now, to, "me")


@pytest.mark.parametrize(("now", "to"), [pair for pair in ILLEGAL if pair[1] in CALLS])
def test_every_illegal_call_raises_and_changes_nothing(now: Status, to: Status) -> None:
    response = _in_status(now)
    before = copy.deepcopy(response)
    with pytest.raises(IllegalMoveError):
        CALLS[to](response)
    assert response == before


def test_a_finished_response_without_budget_takes_no_empty_output() -> None:
    response = _running(max_tokens=1)
    response.absorb(_segment(1), finished=False)
    with pytest.raises(IllegalMoveError):
        response.absorb(_segment(), finished=False)


# ---- properties ----


def _pieces(num_tokens: int, cuts: list[int]) -> list[tuple[int, int]]:
    return list(pairwise([0, *sorted(min(cut, num_tokens) for cut in cuts), num_tokens]))


@given(sampled=SAMPLED, cuts=st.lists(st.integers(0, 30), max_size=6), spare=st.integers(1, 5))
def test_any_split_into_segments_joins_to_the_same_response(
    sampled: list[tuple[int, float]], cuts: list[int], spare: int
) -> None:
    tokens, logps = [token for token, _ in sampled], [logp for _, logp in sampled]
    response = Trajectory(prompt=(5, 6), max_tokens=len(sampled) + spare)
    pieces = _pieces(len(sampled), cuts)
    versions = []
    for version, (begin, end) in enumerate(pieces):
        assert response.start() == [5, 6, *tokens[:begin]]
        segment = Segment.sampled(tokens[begin:end], logps[begin:end], version)
        response.absorb(segment, finished=version == len(pieces) - 1)
        versions += [version] * (end - begin)
    assert response.tokens() == tokens
    # bytes, because -0.0 == 0.0 would hide a changed bit
    assert array("d", response.logps()).tobytes() == array("d", logps).tobytes()
    assert response.versions() == versions
    assert response.oldest_version == (versions[0] if versions else None)
    assert (response.status, response.remaining_tokens) == (Status.FINISHED, spare)


@given(
    max_tokens=st.integers(0, 12),
    outputs=st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=12),
)
def test_the_budget_holds_over_all_segments_together(
    max_tokens: int, outputs: list[tuple[int, bool]]
) -> None:
    response = Trajectory(prompt=(7,), max_tokens=max_tokens)
    kept = 0
    for num_tokens, finished in outputs:
        response.start()
        segment = _segment(*range(num_tokens))
        if kept + num_tokens > max_tokens:
            with pytest.raises(ValueError, match="were left"):
                response.absorb(segment, finished=finished)
            break
        response.absorb(segment, finished=finished)
        kept += num_tokens
        ends = finished or kept == max_tokens
        assert response.status is (Status.FINISHED if ends else Status.PAUSED)
        if ends:
            break
    assert (response.num_tokens, response.remaining_tokens) == (kept, max_tokens - kept)
    assert all(len(segment.tokens) for segment in response.segments)
