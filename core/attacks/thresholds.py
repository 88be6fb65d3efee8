"""Attacks that threshold one statistic of the target's own output: no reference models, no training."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import scipy  # its submodules load on first use, pages start without them

from core.attacks.base import REMEDIES, Attack, Signals, scaled_logits


class ThresholdAttack(Attack):
    """A statistic of one output vector, high for members."""

    class_conditional: bool = False
    """Compare each record with known non-members of its own class, so that easy and hard classes share one threshold.
    Needs population records."""

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """[N] float64 from logits [N, K]."""
        raise NotImplementedError

    @property
    def named(self) -> str:
        return f"{self.title}, per class" if self.class_conditional else self.title

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        return {"compared": "per class"} if self.class_conditional else {}

    def is_compatible(self, signals: Signals) -> str | None:
        if self.class_conditional and not len(signals.population_labels):
            return f"{self.title} per class needs population records: {REMEDIES['population_logits']}"
        return super().is_compatible(signals)

    def __call__(self, signals: Signals) -> np.ndarray:
        scores = self.statistic(logits=signals.logits, labels=signals.labels)
        if not self.class_conditional:
            return scores
        population = self.statistic(logits=signals.population_logits, labels=signals.population_labels)
        return rank_within_class(
            scores=scores, labels=signals.labels, population=population, population_labels=signals.population_labels
        )


class LossAttack(ThresholdAttack):
    """Members were trained to have a small loss, so the attack calls a record a member where its loss is small.

    The oldest attack and the baseline of all others: score −l = log p_y (Yeom 2018). It cannot tell a memorised
    record from one that is merely easy, which is why it is weak at low false positive rates."""

    kind: Literal["loss"] = "loss"
    title: ClassVar[str] = "Loss threshold"

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        phi = scaled_logits(logits=logits, labels=labels).astype(np.float64)
        return -np.logaddexp(0.0, -phi)


class ConfidenceAttack(ThresholdAttack):
    """A record is called a member where the model is sure of its true label: score p_y − 1 (Song & Mittal 2021).

    It ranks records exactly as the loss does; it differs only on the scale a threshold is set on. One is subtracted
    because 1 − p_y keeps its digits where p_y itself would round to 1."""

    kind: Literal["confidence"] = "confidence"
    title: ClassVar[str] = "Confidence in the label"

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return -scipy.special.expit(-scaled_logits(logits=logits, labels=labels).astype(np.float64))


class EntropyAttack(ThresholdAttack):
    """A record is called a member where the whole prediction is sharp: score Σ p log p, the negative entropy.

    It needs no label, and so it takes a confidently wrong prediction for a member's (Salem 2019; Song & Mittal 2021).
    """

    kind: Literal["entropy"] = "entropy"
    title: ClassVar[str] = "Prediction entropy"

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        log_p, _, _ = log_probabilities(logits)
        return _times(np.exp(log_p), log_p).sum(axis=1)


class ModifiedEntropyAttack(ThresholdAttack):
    """Entropy that knows the label: a sharp prediction counts for membership only where it is right.

    Mentr = −(1 − p_y) log p_y − Σ_{k≠y} p_k log(1 − p_k), score −Mentr (Song & Mittal 2021, eq. 8). It falls with
    p_y and rises with every other p_k."""

    kind: Literal["mentr"] = "mentr"
    title: ClassVar[str] = "Modified entropy"

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        log_p, log_not_top, top = log_probabilities(logits)
        rows = np.arange(len(log_p))
        p = np.exp(log_p)
        # 1 − p is exact below one half; only the top class can be above it, and its complement is a sum of the others
        log_not_p = np.log1p(-np.minimum(p, 0.5))
        log_not_p[rows, top] = log_not_top
        wrong = _times(p, log_not_p)
        wrong[rows, labels] = _times(np.exp(log_not_p[rows, labels]), log_p[rows, labels])
        return wrong.sum(axis=1)


class TopConfidenceAttack(ThresholdAttack):
    """A record is called a member where the model is sure of any class: score max_k p_k − 1 (Salem 2019).

    For an attacker who does not know the label. One is subtracted to keep the digits near certainty."""

    kind: Literal["top1"] = "top1"
    title: ClassVar[str] = "Top-1 confidence"

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return -scipy.special.expit(-scaled_logits(logits=logits, labels=np.argmax(logits, axis=1)).astype(np.float64))


class CorrectnessAttack(ThresholdAttack):
    """A record is called a member where it is classified correctly: the gap attack (Yeom 2018).

    All it can see is the gap between training and test accuracy, and any attack should beat it. Its scores are only
    0 and 1, so its ROC has a single corner and it says nothing at low false positive rates."""

    kind: Literal["correctness"] = "correctness"
    title: ClassVar[str] = "Correctness"

    def statistic(self, *, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return (np.argmax(logits, axis=1) == labels).astype(np.float64)


def log_probabilities(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log p [N, K], log(1 − p_top) [N], top class [N]) in float64, exact also where p_top rounds to 1."""
    z = np.asarray(logits, np.float64)
    top = z.argmax(axis=1)
    rows = np.arange(len(z))
    shifted = z - z[rows, top][:, None]
    others = shifted.copy()
    others[rows, top] = -np.inf
    log_others = scipy.special.logsumexp(others, axis=1)
    log_total = np.log1p(np.exp(log_others))
    return shifted - log_total[:, None], log_others - log_total, top


def _times(weight: np.ndarray, log_value: np.ndarray) -> np.ndarray:
    """weight · log_value, zero where the weight is zero even if the logarithm is infinite."""
    return np.where(weight > 0, weight * np.where(weight > 0, log_value, 0.0), 0.0)


def rank_within_class(
    *, scores: np.ndarray, labels: np.ndarray, population: np.ndarray, population_labels: np.ndarray
) -> np.ndarray:
    """Share of the non-members [P] of the same class that score lower, ties as half: [N] in 0…1.

    A class without population records falls back to the rank among all of them.
    """
    ranks = np.empty(len(scores))
    everyone = np.sort(population)
    for label in np.unique(labels):
        own = labels == label
        peers = np.sort(population[population_labels == label])
        peers = peers if len(peers) else everyone
        below, upto = np.searchsorted(peers, scores[own], "left"), np.searchsorted(peers, scores[own], "right")
        ranks[own] = (below + upto) / (2 * len(peers))
    return ranks
