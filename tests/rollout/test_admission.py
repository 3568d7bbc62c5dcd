"""The gate by hand: who is admitted, what ends a stage, what is carried over, what is drawn."""

import pytest

from copris_core.rollout.admission import AdmissionGate, Gate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.order import ResponseKey


def _key(name: str) -> ResponseKey:
    """``a1`` is member 1 of group a."""
    return ResponseKey(name[0], int(name[1:]))


def _gate(*, limit: int = 2, groups_per_stage: int = 9, group_size: int = 2) -> AdmissionGate:
    pool = FixedLimit(limit=limit)
    return AdmissionGate(limit=pool, groups_per_stage=groups_per_stage, group_size=group_size)


def _ask(gate: AdmissionGate, *names: str) -> None:
    for name in names:
        gate.ask(_key(name))


def _admit(gate: AdmissionGate) -> list[str]:
    return [f"{uid}{index}" for uid, index in gate.admit()]


def _finish(gate: AdmissionGate, *names: str) -> None:
    for name in names:
        gate.settle(_key(name), interrupted=False)


def _interrupt(gate: AdmissionGate, *names: str) -> None:
    for name in names:
        gate.settle(_key(name), interrupted=True)


def _drawn(gate: AdmissionGate, uids: str, size: int) -> AdmissionGate:
    for uid in uids:
        gate.draw(uid, size)
    return gate


def _single_groups(gate: AdmissionGate, uids: str) -> AdmissionGate:
    """Draw groups of one response and run as many as the open gate admits."""
    _drawn(gate, uids, 1)
    gate.open(0)
    _ask(gate, *(f"{uid}0" for uid in uids))
    gate.admit()
    return gate


# ---- order of service ----


def test_siblings_of_the_group_closest_to_completion_come_before_new_prompts() -> None:
    gate = _drawn(_gate(limit=2), "abc", 3)
    gate.open(0)
    _ask(gate, "b0", "a0")
    assert _admit(gate) == ["a0", "b0"]  # both new: data order, not order of asking
    _ask(gate, "c0", "c1", "c2", "b2", "b1", "a2", "a1")
    assert gate.admit() == []  # two of two in flight
    _finish(gate, "b0")  # unfinished: a 3, b 2
    assert _admit(gate) == ["b1"]
    _finish(gate, "a0")  # unfinished: a 2, b 2: a tie goes to data order
    assert _admit(gate) == ["a1"]
    _finish(gate, "b1", "a1")  # unfinished: a 1, b 1
    assert _admit(gate) == ["a2", "b2"]
    _finish(gate, "a2", "b2")
    assert _admit(gate) == ["c0", "c1"]  # both started groups have nobody left to serve


def test_the_first_member_admitted_pulls_its_siblings_before_the_next_prompt() -> None:
    gate = _drawn(_gate(limit=3), "ab", 2)
    gate.open(0)
    _ask(gate, "b1", "b0", "a1", "a0")
    assert _admit(gate) == ["a0", "a1", "b0"]


def test_resumed_partials_come_first_by_the_version_that_started_them() -> None:
    gate = _drawn(_gate(limit=3), "abc", 2)
    for version, asking in enumerate([["b0"], ["a1", "b0"], ["a0", "a1", "b0"]]):
        gate.open(version)
        _ask(gate, *asking)
        gate.admit()
        gate.close()
        _interrupt(gate, *asking)
    gate.open(3)
    _ask(gate, "c0", "b1", "a0", "a1", "b0")
    assert _admit(gate) == ["b0", "a1", "a0"]  # partials of versions 0, 1, 2
    _finish(gate, "a0", "a1")
    assert _admit(gate) == ["b1", "c0"]  # b has started, c is new


def test_a_partial_interrupted_again_keeps_the_rank_of_its_first_version() -> None:
    gate = _drawn(_gate(limit=2), "ab", 1)
    for version, asking in enumerate([["b0"], ["a0", "b0"]]):  # a joins in stage 1
        gate.open(version)
        _ask(gate, *asking)
        gate.admit()
        gate.close()
        _interrupt(gate, *asking)
    gate.open(2)
    _ask(gate, "a0", "b0")
    # b started under version 0 and a under 1: age beats data order, though both last ran in stage 1
    assert _admit(gate) == ["b0", "a0"]


def test_a_slot_is_held_for_a_partial_that_has_not_asked_again() -> None:
    gate = _single_groups(_gate(limit=2), "abcd")
    _interrupt(gate, "a0")
    assert gate.admit() == []  # one slot is free, and it is a0's; c0 waits
    _finish(gate, "b0")
    assert _admit(gate) == ["c0"]  # of two free slots one is held
    _ask(gate, "a0")
    assert _admit(gate) == ["a0"]
    _finish(gate, "a0", "c0")
    assert _admit(gate) == ["d0"]  # nothing is held any more


def test_a_held_slot_outlasts_the_stage_and_a_finished_response_holds_none() -> None:
    gate = _single_groups(_gate(limit=2), "abcd")
    gate.close()
    _interrupt(gate, "a0")
    _finish(gate, "b0")
    gate.open(1)
    assert _admit(gate) == ["c0"]  # the second slot waits for a0, none for b0


def test_a_partial_that_asks_does_not_wait_for_one_that_has_not() -> None:
    gate = _single_groups(_gate(limit=2), "abc")
    _interrupt(gate, "a0", "b0")
    _ask(gate, "b0")
    assert _admit(gate) == ["b0"]
    assert gate.admit() == []  # c0 may not have a0's slot


def test_a_slot_is_held_against_new_responses_only_not_against_a_next_turn() -> None:
    gate = _single_groups(_gate(limit=2), "abcd")
    _finish(gate, "b0")
    _interrupt(gate, "a0")
    assert _admit(gate) == ["c0"]
    _ask(gate, "b0")  # its next turn; a0 has not asked, so the free slot is a0's
    assert _admit(gate) == ["b0"]


def test_a_group_that_fails_gives_its_held_slots_back() -> None:
    gate = _single_groups(_gate(limit=1), "ab")
    _interrupt(gate, "a0")
    assert gate.admit() == []
    gate.complete("a", failed=True)
    assert _admit(gate) == ["b0"]


def test_an_abort_before_the_first_token_still_counts_as_resumed() -> None:
    gate = _single_groups(_gate(limit=1), "ba")  # b is drawn first and admitted
    gate.close()
    _interrupt(gate, "b0")
    gate.open(1)
    _ask(gate, "b0")
    assert _admit(gate) == ["b0"]


def test_the_next_turn_of_a_multi_turn_loop_is_served_as_resumed() -> None:
    gate = _drawn(_gate(limit=1), "ab", 2)
    gate.open(0)
    _ask(gate, "a0", "a1", "b0")
    assert _admit(gate) == ["a0"]
    _finish(gate, "a0")  # the loop now runs its tool
    assert gate.num_live == 3
    _ask(gate, "a0")  # and asks for its next turn before the slot is given away
    assert gate.num_live == 4
    assert _admit(gate) == ["a0"]
    _finish(gate, "a0")
    assert _admit(gate) == ["a1"]


def test_a_group_with_a_member_back_for_another_turn_is_further_from_completion() -> None:
    gate = _drawn(_gate(limit=2), "ab", 3)
    gate.open(0)
    _ask(gate, "a0", "b0")
    gate.admit()
    _ask(gate, "a1", "b1")
    _finish(gate, "a0", "b0")  # unfinished: a 2, b 2
    _ask(gate, "a0")  # unfinished: a 3, b 2
    assert _admit(gate) == ["a0", "b1"]


# ---- the end of a stage ----


def test_a_sibling_that_asks_late_is_found_behind_another_ones_next_turn() -> None:
    gate = _gate(limit=2, group_size=3)
    gate.draw("a", 3)
    gate.open(0)
    _ask(gate, "a0")
    _admit(gate)
    _finish(gate, "a0")
    _ask(gate, "a1", "a0")  # a1 first, when two members were left to sample; now there are three
    assert _admit(gate) == ["a0", "a1"]


def test_the_b_th_complete_group_closes_the_gate() -> None:
    gate = _single_groups(_gate(limit=2, groups_per_stage=2), "abcd")
    _finish(gate, "a0")
    gate.complete("a", failed=False)
    assert (gate.state, _admit(gate)) == (Gate.OPEN, ["c0"])
    _finish(gate, "b0")
    gate.complete("b", failed=False)
    assert (gate.state, gate.stage_is_over, gate.num_ready) == (Gate.CLOSING, True, 2)
    assert (_admit(gate), gate.prompts_wanted()) == ([], 0)  # a slot is free, but nobody goes
    assert (gate.in_flight, list(gate.running())) == (1, [_key("c0")])
    _interrupt(gate, "c0")
    assert (gate.state, gate.in_flight) == (Gate.CLOSED, 0)


def test_a_gate_closed_before_its_stage_is_over_admits_nobody_until_it_opens() -> None:
    gate = _single_groups(_gate(limit=2), "abc")
    _finish(gate, "a0")
    gate.close()
    assert (gate.state, gate.enough_is_sampled, gate.admit()) == (Gate.CLOSING, False, [])
    _finish(gate, "b0")
    assert (gate.state, gate.admit()) == (Gate.CLOSED, [])
    gate.open(1)
    assert _admit(gate) == ["c0"]


def test_nobody_is_admitted_once_b_groups_are_sampled_though_not_yet_complete() -> None:
    gate = _single_groups(_gate(limit=2, groups_per_stage=2, group_size=1), "abcd")
    _finish(gate, "a0")
    assert (gate.enough_is_sampled, _admit(gate)) == (False, ["c0"])
    gate.complete("a", failed=False)  # ready 1, sampled 0
    _finish(gate, "b0")  # ready 1, sampled 1: that is B
    assert gate.enough_is_sampled
    assert (gate.state, gate.stage_is_over) == (Gate.OPEN, False)
    assert (gate.admit(), gate.prompts_wanted(), gate.num_waiting) == ([], 0, 1)


def test_a_sampled_group_that_fails_or_takes_another_turn_no_longer_counts() -> None:
    gate = _single_groups(_gate(limit=2, groups_per_stage=1), "abcde")
    _finish(gate, "a0", "b0")  # sampled: a, b
    gate.complete("a", failed=True)
    assert (gate.enough_is_sampled, gate.admit()) == (True, [])
    _ask(gate, "b0")
    assert (gate.enough_is_sampled, _admit(gate)) == (False, ["b0", "c0"])


def test_a_group_with_an_unfinished_member_is_not_sampled() -> None:
    gate = _drawn(_gate(limit=2, groups_per_stage=1), "ab", 2)
    gate.open(0)
    _ask(gate, "a0", "a1", "b0")
    gate.admit()
    _finish(gate, "a0")
    assert (gate.enough_is_sampled, _admit(gate)) == (False, ["b0"])
    _interrupt(gate, "a1")
    assert not gate.enough_is_sampled


def test_a_gate_with_nobody_in_flight_closes_at_once() -> None:
    gate = _single_groups(_gate(limit=1, groups_per_stage=1), "ab")
    _finish(gate, "a0")
    gate.complete("a", failed=False)
    assert gate.state is Gate.CLOSED
    gate = _gate()
    gate.open(0)
    gate.close()
    assert gate.state is Gate.CLOSED


def test_a_late_finisher_stays_finished_and_is_never_resumed() -> None:
    gate = _single_groups(_gate(limit=3, groups_per_stage=1), "abc")
    _finish(gate, "a0")
    gate.complete("a", failed=False)
    _finish(gate, "b0")  # after the gate closed, before its abort arrived
    _interrupt(gate, "c0")
    gate.complete("b", failed=False)
    assert (gate.state, gate.num_ready, gate.num_live) == (Gate.CLOSED, 2, 1)
    assert gate.take(1) == ["a"]
    assert gate.take(1) == ["b"]
    gate.open(1)
    _ask(gate, "c0")
    assert _admit(gate) == ["c0"]  # of the three only the partial comes back
    with pytest.raises(KeyError):
        gate.ask(_key("b0"))


def test_surplus_groups_are_carried_over_and_the_earliest_drawn_are_taken_first() -> None:
    gate = _single_groups(_gate(limit=5, groups_per_stage=2), "edcba")  # data order e d c b a
    _finish(gate, "a0", "b0", "c0", "d0", "e0")
    for uid in "abcde":
        gate.complete(uid, failed=False)
    assert gate.take(2) == ["e", "d"]
    gate.open(1)  # c, b and a are ready: the stage ends at once
    assert gate.state is Gate.CLOSED
    assert gate.take(2) == ["c", "b"]
    gate.open(2)  # one carried group is one too few
    assert (gate.state, gate.num_ready) == (Gate.OPEN, 1)


def test_a_carried_group_does_not_overtake_an_earlier_drawn_one() -> None:
    gate = _single_groups(_gate(limit=3, groups_per_stage=2), "abc")
    _finish(gate, "b0", "c0")
    gate.complete("c", failed=False)
    gate.complete("b", failed=False)
    _interrupt(gate, "a0")
    assert gate.take(1) == ["b"]
    gate.open(1)
    _ask(gate, "a0")
    gate.admit()
    _finish(gate, "a0")
    gate.complete("a", failed=False)
    assert gate.take(2) == ["a", "c"]


def test_a_failed_group_ends_no_stage_and_is_reported_once() -> None:
    gate = _single_groups(_gate(limit=2, groups_per_stage=1), "ab")
    _finish(gate, "a0")
    gate.complete("a", failed=True)
    assert (gate.state, gate.num_ready, gate.num_live) == (Gate.OPEN, 0, 1)
    assert (gate.take_failed(), gate.take_failed()) == (["a"], [])
    with pytest.raises(ValueError, match="1 groups wanted, 0 are complete"):
        gate.take(1)


def test_a_group_that_fails_half_way_frees_all_its_members() -> None:
    gate = _drawn(_gate(limit=2), "ab", 3)  # a0 finished, a1 interrupted, a2 never asked
    gate.open(0)
    _ask(gate, "a0", "a1")
    gate.admit()
    _finish(gate, "a0")
    _interrupt(gate, "a1")
    assert gate.num_live == 3 + 2
    gate.complete("a", failed=True)
    assert (gate.num_live, gate.num_waiting) == (3, 0)
    gate.draw("a", 3)  # the name is free again
    assert gate.num_live == 6


# ---- prompts on demand ----


# In this section the pool is large for its groups, so that the margin is limit // 4.


def test_prompts_are_wanted_up_to_the_limit_and_its_margin() -> None:
    # margin = 33 // 4 = 8; ceil((33 + 8 - live) / 2) for live = 0, 2, ... 40, 42: 21, 20, ... 1, 0
    gate = _gate(limit=33, group_size=2)
    gate.open(0)
    wanted = [gate.prompts_wanted()]
    for uid in "abcdefghijklmnopqrstu":
        gate.draw(uid, 2)
        wanted.append(gate.prompts_wanted())
    assert wanted == list(range(21, -1, -1))
    assert gate.num_live == 42  # the last group overshoots 41 by less than one group


def test_responses_in_flight_still_count_until_they_finish() -> None:
    uids = "abcdefghijklmnopqrst"  # 20 live responses are enough: 16 + 16 // 4
    gate = _single_groups(_gate(limit=16, group_size=1), uids)
    assert (gate.in_flight, gate.prompts_wanted()) == (16, 0)
    _finish(gate, "a0")
    assert gate.prompts_wanted() == 1


def test_no_prompt_is_wanted_unless_the_gate_is_open() -> None:
    gate = _gate(limit=16, group_size=1)
    assert (gate.state, gate.prompts_wanted()) == (Gate.CLOSED, 0)
    _single_groups(gate, "a")
    assert gate.prompts_wanted() == 19  # 16 + 16 // 4 - 1
    gate.close()
    assert (gate.state, gate.prompts_wanted()) == (Gate.CLOSING, 0)


def test_more_live_responses_than_wanted_never_want_less_than_nothing() -> None:
    gate = _drawn(_gate(limit=16, group_size=1), "abcdefghijklmnopqrstuvwxyz", 1)
    gate.open(0)
    assert gate.prompts_wanted() == 0  # 26 live, 20 wanted
