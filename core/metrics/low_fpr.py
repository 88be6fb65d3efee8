"""TPR at low FPR with its counts, its interval and its certified form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load on first use, pages start without them

from core.config import BadInput
from core.metrics.intervals import clopper_pearson
from core.metrics.scored import split_by_membership


@dataclass(frozen=True)
class LowFpr:
    """The best true positive rate whose false positive rate stays at or under a target."""

    fpr: float
    """The target."""
    true_positives: int
    members: int
    false_positives: int
    non_members: int
    tpr: float
    low: float
    """Clopper–Pearson interval of the TPR."""
    high: float
    resolvable: bool
    """At least 10 false positives fit under the target (n₀·FPR ≥ 10): with fewer, the threshold hangs on a handful of
    non-members and the realised FPR may well be twice the target."""
    certified_false_positives: int | None
    """So many false positives may be made with 95 % confidence that the true FPR is at or under the target."""
    certified_true_positives: int | None
    certified_tpr: float | None
    """None where n₀ is too small to certify the target even with no false positive at all."""
    certified_low: float | None
    certified_high: float | None


def tpr_at_fpr(*, scores: np.ndarray, is_member: np.ndarray, fpr: float, level: float = 0.95) -> LowFpr:
    """Max TPR over thresholds with FPR ≤ `fpr`; no interpolation, ties enter as one block (Carlini 2022).

    The certified form allows `allowed_false_positives` instead. It is exact although the threshold is chosen on the
    same data: the tail mass above the (c+1)-th largest of n₀ non-members is Beta(c+1, n₀−c), whatever their law, so it
    exceeds `fpr` with probability P[Bin(n₀, fpr) ≤ c] ≤ 5 %; the members are independent of that threshold.
    """
    if not 0 < fpr < 1:
        raise BadInput(f"the false positive rate lies between 0 and 1 (got {fpr})")
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    falling = -np.sort(-non_members)
    # a product such as .001 · 3 000 may fall just below its integer
    true_positives, false_positives = _count(members, falling, int(np.floor(fpr * len(falling) + 1e-9)))
    share = clopper_pearson(true_positives, len(members), level)
    allowed = allowed_false_positives(non_members=len(falling), fpr=fpr)
    hits = None if allowed is None else _count(members, falling, allowed)[0]
    certified = None if hits is None else clopper_pearson(hits, len(members), level)
    return LowFpr(
        fpr=fpr,
        true_positives=true_positives,
        members=len(members),
        false_positives=false_positives,
        non_members=len(falling),
        tpr=share.value,
        low=share.low,
        high=share.high,
        resolvable=bool(fpr * len(falling) >= 10 - 1e-9),
        certified_false_positives=allowed,
        certified_true_positives=hits,
        certified_tpr=certified.value if certified else None,
        certified_low=certified.low if certified else None,
        certified_high=certified.high if certified else None,
    )


def allowed_false_positives(*, non_members: int, fpr: float, confidence: float = 0.95) -> int | None:
    """Largest c whose one-sided Clopper–Pearson upper bound c of n₀ is at or under `fpr`; None where not even 0 is.

    The bound is at or under `fpr` exactly where P[Bin(n₀, fpr) ≤ c] ≤ 1 − confidence.
    """
    tail = 1 - confidence
    start = int(scipy.stats.binom.ppf(tail, non_members, fpr))
    for count in range(start, -1, -1):
        if scipy.stats.binom.cdf(count, non_members, fpr) <= tail * (1 + 1e-12):
            return count
    return None


def _count(members: np.ndarray, falling: np.ndarray, allowed: int) -> tuple[int, int]:
    """(true, false) positives of the lowest threshold with at most `allowed` false positives."""
    if allowed >= len(falling):
        return len(members), len(falling)
    # the whole tie block of the first non-member too many stays out
    limit = falling[allowed]
    return int((members > limit).sum()), int((falling > limit).sum())
