"""Attack-P: the p-value over the population."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from core.attacks.base import Attack, Signals
from core.attacks.thresholds import rank_within_class


class AttackP(Attack):
    """How unusual is this loss for records the model never saw? Score: the share of population records with a higher
    loss, ties as half (Ye 2022, attack P).

    It ranks records as the loss does. What it adds is the threshold: calling a member whatever scores above 1 − α has
    a false positive rate of α, known beforehand and without any reference model."""

    kind: Literal["attack_p"] = "attack_p"
    title: ClassVar[str] = "Attack-P"
    needs: ClassVar[frozenset[str]] = frozenset({"population_logits"})

    def __call__(self, signals: Signals) -> np.ndarray:
        one_class = np.zeros(len(signals.labels), int), np.zeros(len(signals.population_labels), int)
        return rank_within_class(
            scores=signals.phi, labels=one_class[0], population=signals.population_phi, population_labels=one_class[1]
        )
