"""Balanced accuracy: half the members found plus half the non-members cleared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.metrics.intervals import wilson
from core.metrics.roc import roc
from core.metrics.scored import split_by_membership


@dataclass(frozen=True)
class Balanced:
    """(TPR + TNR) / 2 at one threshold, with its interval."""

    value: float
    low: float
    high: float
    tpr: float
    tnr: float
    threshold: float
    optimistic: bool
    """The threshold was chosen on the very records it is judged on, so the value is an upper estimate."""


def balanced_accuracy(*, scores: np.ndarray, is_member: np.ndarray, threshold: float, level: float = 0.95) -> Balanced:
    """At a threshold that was chosen elsewhere (on shadow models); score ≥ threshold means "member".

    The interval adds the two Wilson intervals in squares (Newcombe 1998): sensible at 0 and 1, unlike a normal one.
    """
    return _at(scores=scores, is_member=is_member, threshold=threshold, level=level, optimistic=False)


def best_balanced_accuracy(*, scores: np.ndarray, is_member: np.ndarray, level: float = 0.95) -> Balanced:
    """At the threshold that is best on these same records: marked optimistic, never the attacker's real success."""
    threshold = best_threshold(scores=scores, is_member=is_member)
    return _at(scores=scores, is_member=is_member, threshold=threshold, level=level, optimistic=True)


def best_threshold(*, scores: np.ndarray, is_member: np.ndarray) -> float:
    """The threshold of the largest TPR − FPR; give it shadow models' scores. The strictest one among equals."""
    curve = roc(scores=scores, is_member=is_member)
    return float(curve.thresholds[np.argmax(curve.tpr - curve.fpr)])


def _at(*, scores: np.ndarray, is_member: np.ndarray, threshold: float, level: float, optimistic: bool) -> Balanced:
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    found = wilson(int((members >= threshold).sum()), len(members), level)
    cleared = wilson(int((non_members < threshold).sum()), len(non_members), level)
    value = (found.value + cleared.value) / 2
    below = np.hypot(found.value - found.low, cleared.value - cleared.low) / 2
    above = np.hypot(found.high - found.value, cleared.high - cleared.value) / 2
    low, high = max(0.0, float(value - below)), min(1.0, float(value + above))
    return Balanced(value, low, high, found.value, cleared.value, threshold, optimistic)
