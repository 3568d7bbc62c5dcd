"""What the gate and its partials cost, in pure Python, without engines.

    .venv/bin/python scripts/bench_gate.py

Prints admissions and releases per second with 1,000 to 100,000 responses waiting, un-started and
resumed ones, and bytes per token and per response in flight, in memory and written down.
"""

import json
import time
import tracemalloc
from collections.abc import Sequence

from copris_core.rollout.admission import AdmissionGate
from copris_core.rollout.concurrency import FixedLimit
from copris_core.rollout.gate_state import GateState, Place, SavedGroup, SavedMember
from copris_core.rollout.order import ResponseKey
from copris_core.rollout.partials import PartialResponse, PartialStore
from copris_core.rollout.trajectory import Segment, Status, Trajectory

GROUP_SIZE = 16
IN_FLIGHT = 1024
MAX_RELEASES = 20_000
REPEATS = 3
ENDLESS = 10**9  # groups per stage: it never ends
WAITING = (1_000, 10_000, 100_000)
GOAL_PER_S = 50_000
GOAL_BYTES_PER_TOKEN = 12
GOAL_BYTES_PER_RESPONSE = 1024
NUM_RESPONSES = 2_000
PROMPT = (1, 2, 3)


def main() -> None:
    """Print rates, then sizes."""
    for max_lag in (None, 4):
        for what, gate_of in (("un-started", unstarted), ("resumed", resumed)):
            for num_waiting in WAITING:
                rate = max(
                    churn(gate_of(num_waiting, max_lag), num_waiting) for _ in range(REPEATS)
                )
                print(
                    f"{num_waiting:>7,} {what} waiting, max_lag={max_lag}: "
                    f"{rate:>9,.0f} admissions + releases per second (goal {GOAL_PER_S:,})"
                )
    for num_tokens in (0, 100, 1_000):
        memory, disk = storage(num_tokens)
        most = GOAL_BYTES_PER_RESPONSE + GOAL_BYTES_PER_TOKEN * num_tokens
        print(
            f"partial of {num_tokens:,} tokens: {memory:,.0f} bytes in memory, "
            f"{disk:,.0f} written down (goal {most:,})"
        )
    print(f"a response before the gate: {gate_bytes():,.0f} bytes in memory")


def unstarted(num_waiting: int, max_lag: int | None) -> AdmissionGate:
    """An open gate before which un-started responses wait."""
    gate = _gate(max_lag)
    for number in range(-(-(num_waiting + IN_FLIGHT) // GROUP_SIZE)):
        _draw(gate, f"prompt-{number}")
    gate.open(0)
    return gate


def resumed(num_waiting: int, max_lag: int | None) -> AdmissionGate:
    """An open gate before which interrupted responses of eight versions wait."""
    num_groups = -(-(num_waiting + IN_FLIGHT) // GROUP_SIZE)
    growing = tuple(
        SavedGroup(
            uid=f"prompt-{number}",
            draw_order=number,
            members=(SavedMember(place=Place.PAUSED, oldest_version=number * 7 % 8),) * GROUP_SIZE,
        )
        for number in range(num_groups)
    )
    gate = _gate(max_lag)
    gate.restore(GateState(next_order=num_groups, growing=growing, ready=()))
    for number in range(num_groups):
        for index in range(GROUP_SIZE):
            gate.ask(ResponseKey(f"prompt-{number}", index))
    gate.open(8)
    return gate


def churn(gate: AdmissionGate, num_waiting: int) -> float:
    """Let responses leave one by one while others take their slots; releases per second.

    A group that is complete is followed by a new one, so the line stays as long as it was.
    """
    running, left = gate.admit(), dict[str, int]()
    num_releases = min(num_waiting, MAX_RELEASES)
    started_s = time.process_time()
    for number in range(num_releases):
        key = running[number]
        gate.settle(key, interrupted=False)
        left[key.uid] = left.get(key.uid, GROUP_SIZE) - 1
        if not left[key.uid]:
            gate.complete(key.uid, failed=False)
            _draw(gate, f"next-{number}")
        running += gate.admit()
    assert len(running) == num_releases + IN_FLIGHT
    return num_releases / (time.process_time() - started_s)


def storage(num_tokens: int) -> tuple[float, float]:
    """Bytes of a partial in two segments: in memory, and written down."""
    tracemalloc.start()
    responses = [_partial(index, num_tokens) for index in range(NUM_RESPONSES)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / NUM_RESPONSES, _written_bytes(responses) / NUM_RESPONSES


def gate_bytes() -> float:
    """Bytes that the gate itself holds for a response that waits."""
    tracemalloc.start()
    gate = unstarted(NUM_RESPONSES, None)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / gate.num_live


def _gate(max_lag: int | None) -> AdmissionGate:
    limit = FixedLimit(limit=IN_FLIGHT)
    return AdmissionGate(
        limit=limit, groups_per_stage=ENDLESS, group_size=GROUP_SIZE, max_lag=max_lag
    )


def _draw(gate: AdmissionGate, uid: str) -> None:
    gate.draw(uid, GROUP_SIZE)
    for index in range(GROUP_SIZE):
        gate.ask(ResponseKey(uid, index))


def _partial(index: int, num_tokens: int) -> PartialResponse:
    halves = num_tokens // 2, num_tokens - num_tokens // 2
    call = Trajectory(
        prompt=PROMPT,
        max_tokens=num_tokens + 1,
        segments=[
            Segment.sampled(range(300, 300 + n), [-0.5] * n, version)
            for version, n in enumerate(halves)
            if n
        ],
        status=Status.PAUSED,
    )
    return PartialResponse(key=ResponseKey("prompt", index), calls=(call,))


def _written_bytes(responses: Sequence[PartialResponse]) -> int:
    member = SavedMember(place=Place.PAUSED, oldest_version=0)
    group = SavedGroup(uid="prompt", draw_order=0, members=(member,) * len(responses))
    gate = GateState(next_order=1, growing=(group,), ready=())
    head, arrays = PartialStore(version=2, gate=gate, responses=tuple(responses)).pack()
    return len(json.dumps(head)) + sum(4 * len(each) for each in arrays.values())


if __name__ == "__main__":
    main()
