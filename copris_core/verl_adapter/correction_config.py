"""Against which policy the importance ratio is taken, and what is done about tokens far off it.

One name, and the numbers that belong to it. This file refuses to know Hydra, and says which of
verl's own keys follow from the choice.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from copris_core.losses.correction import LEVELS
from copris_core.verl_adapter.errors import ConfigError, one_of

CORRECTIONS: Final = ("none", "cross_stage", "stage", "decoupled")
REJECTIONS: Final = ("none", *LEVELS)

VERLS_OWN: Final = MappingProxyType(
    {
        "bypass_mode": False,
        "loss_type": "ppo_clip",
        "rollout_is": None,
        "rollout_is_batch_normalize": False,
        "rollout_is_threshold": 2.0,
        "rollout_rs": None,
        "rollout_rs_threshold": None,
    }
)
"""verl's ``algorithm.rollout_correction`` as its YAML has it.

Nobody sets these: verl skips its weights where advantages come from pruning, skips both weights and
rejection with ``bypass_mode``, and leaves rejected tokens in the loss's denominator.
"""


@dataclass(frozen=True, kw_only=True)
class CorrectionConfig:
    """Against which policy the importance ratio is taken, and which tokens are trained."""

    name: str
    """Whose log-probs are the ratio's denominator.

    ``none``: the policy before the update. ``cross_stage``: the policy that sampled each token, as
    the engine reported. ``stage``: the same as the trainer computes it, at the end of the stage.
    ``decoupled``: the policy before the update, and a truncated weight from the engine's to it.
    """
    level: str | None = None
    """``decoupled``: what a weight is taken over, ``token`` or ``sequence``."""
    threshold: float | None = None
    """``decoupled``: weights are cut to at most this, 1 or more."""
    reject: str = "none"
    """Which tokens too far off are not trained: ``none``, each ``token``, a whole ``sequence``."""
    reject_above: float | None = None
    """Bound in nats on |log ratio| of policy before the update to behaviour; mean by sequence."""
    max_logprob_gap: float | None = 0.05
    """Largest mean |engine - trainer| log-prob of fresh tokens, in nats; above it the run ends."""
    allow_truncated_sampling: bool = False
    """Take the ratio although top-p or the like bias it."""

    def __post_init__(self) -> None:
        """Refuse unknown names, missing numbers, and numbers that do nothing.

        Raises:
            ConfigError: see above.
        """
        one_of("correction", self.name, CORRECTIONS)
        one_of("correction.reject", self.reject, REJECTIONS)
        if self.name == "decoupled":
            self._refuse_bad_weights()
        else:
            self._refuse_idle_weights()
        self._refuse_rejection()
        if self.max_logprob_gap is not None and not self.max_logprob_gap > 0:
            raise ConfigError(
                f"correction.max_logprob_gap={self.max_logprob_gap} ends every run: set it above "
                "0, or to null for no bound"
            )
        if self.allow_truncated_sampling and not self.takes_ratio:
            raise ConfigError(
                "correction.allow_truncated_sampling=true does nothing with correction=none: "
                "remove it"
            )

    @property
    def takes_ratio(self) -> bool:
        """Whether log-probs of the policy that sampled are compared with the trainer's."""
        return self.name != "none" or self.rejects

    @property
    def rejects(self) -> bool:
        """Whether tokens too far off are taken out of the update."""
        return self.reject != "none"

    @property
    def anchors_on_behaviour(self) -> bool:
        """Whether old_log_probs are of the policies that sampled, not of the one before the update.

        verl calls it bypass_mode.
        """
        return self.name in ("cross_stage", "stage")

    def _refuse_bad_weights(self) -> None:
        if self.level is None or self.threshold is None:
            raise ConfigError(
                "correction=decoupled needs correction.level and correction.threshold: token and "
                "2.0 are common"
            )
        one_of("correction.level", self.level, LEVELS)
        if not self.threshold >= 1:
            raise ConfigError(
                f"correction.threshold={self.threshold} cuts the weight 1 of an on-policy token: "
                "set it to 1 or more"
            )

    def _refuse_idle_weights(self) -> None:
        for key in ("level", "threshold"):
            if getattr(self, key) is not None:
                raise ConfigError(
                    f"correction.{key}={getattr(self, key)} does nothing with "
                    f"correction={self.name}: add correction=decoupled, or remove it"
                )

    def _refuse_rejection(self) -> None:
        if not self.rejects and self.reject_above is not None:
            raise ConfigError(
                f"correction.reject_above={self.reject_above} does nothing with "
                "correction.reject=none: set it to token or sequence, or remove it"
            )
        if self.rejects and (self.reject_above is None or not self.reject_above > 0):
            raise ConfigError(
                f"correction.reject={self.reject} needs correction.reject_above above 0: 1.0 "
                "rejects probabilities that changed by more than a factor e"
            )
