"""A validation by domain: accuracy, score and pass@k of each, and one blended number.

Takes judged samples, returns frozen values. Refuses to know tasks, trainers and files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from copris_core.evaluation.pass_at_k import mean_pass_at_k, powers_of_two


@dataclass(frozen=True, kw_only=True)
class JudgedSample:
    """One response and its verdict."""

    uid: str
    """Of the prompt; samples of one prompt share it."""
    domain: str
    """The row's data source, such as ``logic`` or ``openai/gsm8k``."""
    accuracy: float
    """1 when the answer is right, else 0."""
    score: float
    """Reward of the verifier in [0, 1], partial credit included."""


@dataclass(frozen=True, kw_only=True)
class DomainResult:
    """A validation's samples of one domain."""

    domain: str
    """The rows' data source."""
    accuracy: float
    """Mean accuracy over samples."""
    score: float
    """Mean score over samples."""
    num_prompts: int
    """Different prompts."""
    pass_at: Mapping[int, float]
    """pass@k by k = 1, 2, 4, ... up to the samples every prompt has; empty with one sample."""


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """One validation."""

    accuracy: float
    """Mean accuracy over all samples, whatever their domain."""
    num_prompts: int
    """Different prompts of all domains."""
    blended: float
    """Weighted mean of the domains' accuracies."""
    domains: tuple[DomainResult, ...]
    """By name."""

    @property
    def accuracy_by_domain(self) -> dict[str, float]:
        """What decides about a reset of the reference; keys are the names the metrics have."""
        return {name: each.accuracy for name, each in self._named()}

    def metrics(self) -> dict[str, float]:
        """All numbers under the names that are logged."""
        found = {
            "val/accuracy": self.accuracy,
            "val/n": self.num_prompts,
            "val/blended": self.blended,
        }
        for name, each in self._named():
            found[f"val/{name}/accuracy"] = each.accuracy
            found[f"val/{name}/score"] = each.score
            found[f"val/{name}/n"] = each.num_prompts
            found |= {f"val/{name}/pass@{k}": value for k, value in each.pass_at.items()}
        return found

    def _named(self) -> list[tuple[str, DomainResult]]:
        names = domain_names([each.domain for each in self.domains])
        return [(names[each.domain], each) for each in self.domains]


def validate(
    samples: Sequence[JudgedSample], *, weights: Mapping[str, float] | None = None
) -> ValidationResult:
    """Sum a validation up.

        blended = sum_d w_d accuracy_d / sum_d w_d

    Args:
        samples: all of them, in any order.
        weights: w_d by the domain's name in the metrics; None: every domain counts the same.

    Raises:
        ValueError: no samples, weights for other domains than there are, or weights that are
            negative or all 0.
    """
    if not samples:
        raise ValueError("a validation without samples: give it 1 row or more")
    by_domain: dict[str, list[JudgedSample]] = defaultdict(list)
    for sample in samples:
        by_domain[sample.domain].append(sample)
    domains = tuple(_domain(name, by_domain[name]) for name in sorted(by_domain))
    names = domain_names(list(by_domain))
    return ValidationResult(
        accuracy=_mean([sample.accuracy for sample in samples]),
        num_prompts=len({(sample.domain, sample.uid) for sample in samples}),
        blended=_blend({names[each.domain]: each.accuracy for each in domains}, weights),
        domains=domains,
    )


def domain_names(domains: Sequence[str]) -> dict[str, str]:
    """Names of data sources as they stand in metrics, where ``/`` would open a group.

    A custom task is named without its folder, unless two would then be one.
    """
    short = {domain: _safe(domain.rpartition("/")[2]) for domain in domains if ":" in domain}
    names = {domain: short.get(domain, _safe(domain)) for domain in domains}
    taken = list(names.values())
    return {
        domain: name if taken.count(name) == 1 else _safe(domain) for domain, name in names.items()
    }


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name.strip("/"))


def _domain(name: str, samples: Sequence[JudgedSample]) -> DomainResult:
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        by_prompt[sample.uid].append(sample.accuracy)
    counts = [len(each) for each in by_prompt.values()]
    correct = [sum(accuracy == 1 for accuracy in each) for each in by_prompt.values()]
    ks = powers_of_two(min(counts)) if min(counts) > 1 else []
    return DomainResult(
        domain=name,
        accuracy=_mean([sample.accuracy for sample in samples]),
        score=_mean([sample.score for sample in samples]),
        num_prompts=len(by_prompt),
        pass_at={k: mean_pass_at_k(counts, correct, k) for k in ks},
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _blend(accuracies: Mapping[str, float], weights: Mapping[str, float] | None) -> float:
    if weights is None:
        return _mean(list(accuracies.values()))
    if weights.keys() != accuracies.keys():
        raise ValueError(
            f"weights for {', '.join(sorted(weights))}, domains {', '.join(sorted(accuracies))}: "
            "give every domain one weight"
        )
    total = sum(weights.values())
    if not all(weight >= 0 for weight in weights.values()) or not 0 < total < float("inf"):
        raise ValueError(f"weights {dict(weights)}: give numbers of 0 or more, one above 0")
    return sum(weights[name] * value for name, value in accuracies.items()) / total
