"""Label-only: for an attacker who is told the predicted class and nothing else."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from core.attacks.base import Attack, Signals


class LabelOnlyAttack(Attack):
    """A memorised record keeps its label when it is shifted, mirrored or blurred by noise; others tip over sooner.

    Score: the share of Q augmented or noisy copies that the target labels correctly (Choquette-Choo 2021). No defence
    that only disguises confidences can stop it, which is why every one of them must be tested with it. There are only
    Q + 1 distinct scores: the ties are reported, and its TPR at low FPR is as coarse as they are."""

    kind: Literal["label_only"] = "label_only"
    title: ClassVar[str] = "Label only"
    needs: ClassVar[frozenset[str]] = frozenset({"query_labels"})

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        return {"queries": np.asarray(signals.query_labels).shape[1], "ties": share_of_ties(self(signals))}

    def __call__(self, signals: Signals) -> np.ndarray:
        return (np.asarray(signals.query_labels) == signals.labels[:, None]).mean(axis=1)


def share_of_ties(scores: np.ndarray) -> float:
    """Chance that two different records of [N] have the same score; 0 below two records."""
    counts = np.unique(scores, return_counts=True)[1].astype(np.float64)
    total = counts.sum()
    return float((counts * (counts - 1)).sum() / (total * (total - 1))) if total > 1 else 0.0
