"""Area under the ROC with DeLong's interval, and the paired comparison of two attacks on the same records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load on first use, pages start without them

from core.config import BadInput
from core.metrics.intervals import Interval, clopper_pearson
from core.metrics.scored import split_by_membership

ROUNDING = 1e-24
"""A variance at or under this is rounding of zero; the smallest real one, a single swapped pair of 10⁵ records, is
10⁻²⁰."""


@dataclass(frozen=True)
class Paired:
    """AUC after minus AUC before on the same records, its interval and the two-sided test of no difference."""

    difference: float
    low: float
    high: float
    p_value: float
    z: float


def auc(*, scores: np.ndarray, is_member: np.ndarray, level: float = 0.95) -> Interval:
    """P(a member scores higher than a non-member), ties as half, with DeLong's interval (DeLong 1988; Sun & Xu 2014).

    Where DeLong's variance is zero or undefined (perfect separation, one constant score, a single record in a
    group) a normal interval would claim certainty. There the interval is Clopper–Pearson over m = min(n1, n0)
    trials with AUC·m successes: m disjoint member / non-member pairs are m independent trials of exactly the event
    the AUC is the probability of. For 100 perfectly separated pairs it is [.964, 1].
    """
    of_members, of_non_members = _placements(scores=scores, is_member=is_member)
    value = float(of_members.mean())
    variance = _variance(of_members, of_non_members)
    if variance <= ROUNDING:
        pairs = min(len(of_members), len(of_non_members))
        bound = clopper_pearson(value * pairs, pairs, level)
        return Interval(value, bound.low, bound.high)
    half = float(scipy.stats.norm.ppf((1 + level) / 2) * np.sqrt(variance))
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def paired_delong(*, before: np.ndarray, after: np.ndarray, is_member: np.ndarray, level: float = 0.95) -> Paired:
    """Difference of two AUCs on the same records, with the variance that their correlation leaves (DeLong 1988).

    Scores [N] before and after. With zero variance and a difference (one of the two separates perfectly), the
    interval spans the ends of the two single intervals and the p-value is the sign test over min(n1, n0) pairs.
    """
    if len(before) != len(after):
        raise BadInput(f"a paired comparison needs the same records before and after (got {len(before)}, {len(after)})")
    members_before, others_before = _placements(scores=before, is_member=is_member)
    members_after, others_after = _placements(scores=after, is_member=is_member)
    by_member, by_other = members_after - members_before, others_after - others_before
    difference = float(by_member.mean())
    variance = _variance(by_member, by_other)
    if variance > ROUNDING:
        error = float(np.sqrt(variance))
        z = difference / error
        half = float(scipy.stats.norm.ppf((1 + level) / 2)) * error
        low, high = max(-1.0, difference - half), min(1.0, difference + half)
        return Paired(difference, low, high, float(2 * scipy.stats.norm.sf(abs(z))), z)
    if np.array_equal(by_member, np.zeros_like(by_member)) and np.array_equal(by_other, np.zeros_like(by_other)):
        return Paired(0.0, 0.0, 0.0, 1.0, 0.0)
    first = auc(scores=before, is_member=is_member, level=level)
    second = auc(scores=after, is_member=is_member, level=level)
    p_value = min(1.0, 2.0 ** (1 - min(len(by_member), len(by_other)))) if difference else 1.0
    z = float(scipy.stats.norm.isf(p_value / 2)) * float(np.sign(difference))
    return Paired(difference, second.low - first.high, second.high - first.low, p_value, z)


def _placements(*, scores: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per member [n1] the share of non-members below it, per non-member [n0] the share of members above it.

    From mid-ranks: rank among all minus rank within the own group counts exactly the other group's records below.
    """
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    ranks = scipy.stats.rankdata(np.concatenate([members, non_members]))
    below_members = ranks[: len(members)] - scipy.stats.rankdata(members)
    below_non_members = ranks[len(members) :] - scipy.stats.rankdata(non_members)
    return below_members / len(non_members), 1 - below_non_members / len(members)


def _variance(of_members: np.ndarray, of_non_members: np.ndarray) -> float:
    """DeLong's variance of the mean; 0 where a group of one record has none to offer."""
    if len(of_members) < 2 or len(of_non_members) < 2:
        return 0.0
    return float(of_members.var(ddof=1) / len(of_members) + of_non_members.var(ddof=1) / len(of_non_members))
