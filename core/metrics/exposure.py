"""Exposure of canaries: how far training lifted records that nothing but memory explains above their equals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.metrics.scored import split_by_membership

RESAMPLES = 500


@dataclass(frozen=True)
class Exposure:
    """Mean exposure of the canaries in bits, with its interval."""

    value: float
    low: float
    high: float
    chance: float
    """What canaries that were never trained on have on average: a little under log2 e = 1.44 bits."""


def exposure(*, scores: np.ndarray, is_member: np.ndarray) -> np.ndarray:
    """Bits per trained canary, [n1]: log2(n0 + 1) − log2(rank among the n0 that were left out) (Carlini 2019).

    Rank 1 is the highest score: a canary that beats all left-out ones reaches log2(n0 + 1). Equal scores count half.
    """
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    return _bits(*_places(members, non_members), len(non_members))


def mean_exposure(*, scores: np.ndarray, is_member: np.ndarray, seed: int = 0, level: float = 0.95) -> Exposure:
    """Mean over canaries; percentile bootstrap over trained and left-out canaries alike."""
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    trained, left_out = len(members), len(non_members)
    generator = np.random.default_rng(seed)
    # how often each record is drawn, the left-out ones in rising order of their scores
    drawn = generator.multinomial(left_out, np.full(left_out, 1 / left_out), RESAMPLES)
    weights = generator.multinomial(trained, np.full(trained, 1 / trained), RESAMPLES) / trained
    so_far = np.concatenate([np.zeros((RESAMPLES, 1), int), drawn.cumsum(axis=1)], axis=1)
    below, not_above = _places(members, non_members)
    means = (weights * _bits(so_far[:, below], so_far[:, not_above], left_out)).sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    ranks = np.arange(1, left_out + 2)
    value = float(_bits(below, not_above, left_out).mean())
    return Exposure(value, float(low), float(high), float(np.mean(np.log2(len(ranks) / ranks))))


def _places(members: np.ndarray, non_members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per member how many non-members lie below it, and how many not above it; [n1] each."""
    ranked = np.sort(non_members)
    return np.searchsorted(ranked, members, side="left"), np.searchsorted(ranked, members, side="right")


def _bits(below: np.ndarray, not_above: np.ndarray, left_out: int) -> np.ndarray:
    rank = 1 + left_out - not_above + (not_above - below) / 2
    return np.log2(left_out + 1) - np.log2(rank)
