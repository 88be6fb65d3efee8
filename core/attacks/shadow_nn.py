"""The shadow-model attack: a network that learns what a member's output looks like."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from core.attacks.base import REMEDIES, Attack, Signals
from core.attacks.learned import fit_classifier
from core.attacks.thresholds import log_probabilities


class ShadowNetworkAttack(Attack):
    """Train models of your own, note how they answer about their members and others, and learn the difference.

    The first membership attack on neural networks (Shokri 2017; with the three largest posteriors, Salem 2019). A
    network is trained on the outputs of shadow models, where membership is known, and applied to the target's. One
    for all classes, 256-128 units, stopped on held-out shadow records (the papers: 512-256-128 with dropout, one per
    class). It learns about outputs in general and knows nothing of a record's own difficulty."""

    kind: Literal["shadow_nn"] = "shadow_nn"
    title: ClassVar[str] = "Shadow network"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_logits", "reference_in"})

    inputs: Literal["posteriors", "top3", "posteriors_label"] = "posteriors_label"
    """What the network sees: all posteriors, the three largest in order, or all posteriors and the true label."""
    seed: int = Field(0, ge=0)
    """Seed of the network."""

    def is_compatible(self, signals: Signals) -> str | None:
        missing = super().is_compatible(signals)
        if missing:
            return missing
        logits, is_in = np.asarray(signals.reference_logits), np.asarray(signals.reference_in)
        if len(logits) > len(is_in) or logits.shape[1:] != signals.logits.shape or is_in.shape[1] != logits.shape[1]:
            return f"{self.title}: shadow outputs {logits.shape} do not belong to these records and references"
        members = is_in[: len(logits)]
        if members.all() or not members.any():
            return (
                f"{self.title} needs shadow models with both members and non-members among the audited records: "
                f"{REMEDIES['reference_logits']}"
            )
        return None

    def __call__(self, signals: Signals) -> np.ndarray:
        logits = np.asarray(signals.reference_logits)
        classify = fit_classifier(
            features=np.concatenate([self._features(shadow, signals.labels) for shadow in logits]),
            is_member=np.asarray(signals.reference_in, bool)[: len(logits)].ravel(),
            hidden=(256, 128),
            seed=self.seed,
        )
        return classify(self._features(signals.logits, signals.labels))

    def _features(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """[N, F] float32 from logits [N, K]."""
        posteriors = np.exp(log_probabilities(logits)[0]).astype(np.float32)
        if self.inputs == "top3":
            return -np.sort(-posteriors, axis=1)[:, :3]
        if self.inputs == "posteriors":
            return posteriors
        return np.concatenate([posteriors, np.eye(logits.shape[1], dtype=np.float32)[labels]], axis=1)
