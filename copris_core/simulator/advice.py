"""A plan in words: which N', what it buys, why no more, and what the step spends its time on."""

from collections.abc import Sequence
from typing import Final

from copris_core.simulator.plan import Plan
from copris_core.simulator.prediction import Prediction

NOTHING_GAINED: Final = 1.03
"""Throughput over sync's up to which partial rollout is said to gain nothing: the prediction is no
better than that."""
NOTICEABLE: Final = 0.03
"""Share of a step from which a cause is named."""
STEEP: Final = 0.5
"""Share of a decode step that its responses cost, from which the cost curve is said to be steep."""
LONG_UPDATE: Final = 0.4
"""Share of a step from which its update is said to rule it."""
SMALL_BUBBLE: Final = 0.06
"""Share of sync's step in empty slots up to which there is no tail to speak of."""


def advise(plan: Plan) -> list[str]:
    """The sentences, most important first."""
    gains = plan.gain(plan.chosen) > NOTHING_GAINED
    sentences = [
        _headline(plan) if gains else _nothing_gained(plan),
        _not_the_tail(plan) if gains else None,
        _above(plan) if gains else None,
        _price_of_the_cap(plan),
        _biggest_part(plan),
        _limit_of_gain(plan),
        _others(plan),
    ]
    return [sentence for sentence in sentences if sentence is not None]


# ---- the sentences ----


def _headline(plan: Plan) -> str:
    chosen = plan.chosen
    return (
        f"N'={chosen.concurrency}: {plan.gain(chosen):.2f}x sync ({chosen.step_s:.3g} s a step "
        f"instead of {plan.sync.step_s:.3g} s), "
        f"{chosen.interruptions:.1f} interruptions a response, a mean lag of "
        f"{chosen.lag_mean:.1f} versions, 95% of the tokens within {chosen.lag_p95}."
    )


def _nothing_gained(plan: Plan) -> str:
    causes = [cause(plan, plan.sync) for cause in (_small_bubble, _steep, _long_update)]
    causes += [cause(plan, plan.chosen) for cause in (_pacing, _kv_is_full, _prefill)]
    why = _joined(causes)
    return (
        f"Partial rollout gains nothing here: {plan.gain(plan.chosen):.2f}x sync at "
        f"N'={plan.chosen.concurrency}. Stay with sync: {why}."
    )


def _not_the_tail(plan: Plan) -> str | None:
    """A pool beyond the batch is also a larger batch, which a steep curve pays for."""
    if plan.sync.idle_step > SMALL_BUBBLE:
        return None
    return (
        f"None of it comes from a tail: only {plan.sync.idle_step:.0%} of sync's step is empty "
        f"slots. N'={plan.chosen.concurrency} pays because a decode step costs less per response "
        "the more there are; a larger train batch would pay as much, without stale tokens."
    )


def _above(plan: Plan) -> str | None:
    """Why a larger N' than the knee buys nothing; None where the sweep ends at the knee."""
    larger = [each for each in plan.of("copris") if each.concurrency > plan.knee.concurrency]
    if not larger and plan.knee.concurrency < plan.fits:
        return f"N'={plan.knee.concurrency} is the largest looked at: more may gain more."
    if not larger:
        return (
            f"N'={plan.fits} is the most that the engines hold ({plan.knee.preemptions:.1f} "
            "preemptions a step): a larger KV cache or more replicas may gain more."
        )
    causes = (_pacing, _kv_is_full, _prefill, _steep, _long_update)
    why = _joined([cause(plan, larger[-1]) for cause in causes])
    return f"Above N'={plan.knee.concurrency} nothing more is gained: {why}."


def _price_of_the_cap(plan: Plan) -> str | None:
    if plan.chosen.concurrency >= plan.knee.concurrency:
        return None
    lost = 1 - plan.chosen.samples_per_s / plan.knee.samples_per_s
    return (
        f"The cap of {plan.question.staleness_cap:g} on the interruptions costs {lost:.0%}: "
        f"N'={plan.knee.concurrency} would give {plan.gain(plan.knee):.2f}x at "
        f"{plan.knee.interruptions:.1f}."
    )


def _biggest_part(plan: Plan) -> str:
    """What is left to shorten, at the N' that is recommended."""
    at = plan.chosen if plan.gain(plan.chosen) > NOTHING_GAINED else plan.sync
    name, seconds = max(at.parts.items(), key=lambda part: part[1])
    where = "sync's step" if at is plan.sync else f"the step at N'={at.concurrency}"
    return f"The largest part of {where} is {name}: {seconds / at.step_s:.0%} of {at.step_s:.3g} s."


def _limit_of_gain(plan: Plan) -> str:
    sync = plan.sync
    return (
        f"In sync, generation is f={sync.generate_share:.0%} of the step and b="
        f"{sync.idle_generate:.0%} of its slots stand empty: filling them at no cost is worth "
        f"1/(1 - f b) = {plan.limit_of_gain:.2f}x."
    )


def _others(plan: Plan) -> str | None:
    """The best of the other strategies within the cap, with what it costs in staleness."""
    told = []
    for name in ("naive_partial", "oversample", "copris_adaptive"):
        found = [each for each in plan.of(name) if plan.allows(each)]
        if found:
            best = max(found, key=lambda each: each.samples_per_s)
            told.append(
                f"{name} {plan.gain(best):.2f}x at N'={best.concurrency} (lag {best.lag_mean:.1f})"
            )
    return f"The others at their best: {', '.join(told)}." if told else None


# ---- the causes ----


def _joined(causes: Sequence[str | None]) -> str:
    told = [cause for cause in causes if cause is not None]
    return "; ".join(told) if told else "what it saves and what it costs are equal"


def _pacing(plan: Plan, at: Prediction) -> str | None:
    lag, workload = at.max_lag, plan.question.workload
    if lag is None or at.occupancy >= 1 - NOTICEABLE:
        return None
    return (
        f"max_lag={lag} lets at most (K + 1) B = {(lag + 1) * workload.groups_per_stage} groups be "
        f"under way, which keeps {at.in_flight:.0f} in flight at N'={at.concurrency}"
    )


def _small_bubble(plan: Plan, at: Prediction) -> str | None:
    if plan.sync.idle_step > SMALL_BUBBLE:
        return None
    return (
        f"the lengths are nearly equal, so that only {plan.sync.idle_step:.0%} of sync's step "
        "is a tail with empty slots"
    )


def _steep(plan: Plan, at: Prediction) -> str | None:
    engine = plan.question.engine
    here = max(1, round(at.running / engine.replicas))
    shape, prompt_tokens = plan.shape, plan.question.workload.prompt_tokens
    held = prompt_tokens + shape.mean_held
    step_s = engine.decode_step_s(here, here * held)
    by_responses = 1 - engine.decode_step_s(1, held) / step_s
    if by_responses < STEEP:
        return None
    return (
        f"the engine's cost curve is steep: {by_responses:.0%} of a decode step of "
        f"{1000 * step_s:.3g} ms grows with its {here} responses, so that a fuller batch samples "
        "hardly faster"
    )


def _long_update(plan: Plan, at: Prediction) -> str | None:
    share = at.update_s / at.step_s
    if share < LONG_UPDATE:
        return None
    return f"the update is {share:.0%} of the step, and no N' shortens it"


def _kv_is_full(plan: Plan, at: Prediction) -> str | None:
    samples = plan.question.workload.samples_per_stage
    if at.preemptions >= NOTICEABLE * samples:
        return f"the KV cache runs full: {at.preemptions:.1f} preemptions a step"
    if at.running < (1 - NOTICEABLE) * at.in_flight:
        return (
            f"of {at.in_flight:.0f} in flight the engines run {at.running:.0f} and keep the "
            "others waiting"
        )
    return None


def _prefill(plan: Plan, at: Prediction) -> str | None:
    """What resuming costs beyond the prefill that sync pays too."""
    share = (at.prefill_s - plan.sync.prefill_s) / at.step_s
    if share < NOTICEABLE:
        return None
    return (
        f"a response is interrupted {at.interruptions:.1f} times at N'={at.concurrency}, and "
        f"prefilling it again takes {share:.0%} of the step"
    )
