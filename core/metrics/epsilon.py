"""Lower bounds of the privacy parameter ε that an attack's success implies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load on first use, pages start without them

from core.config import BadInput
from core.metrics.intervals import clopper_pearson
from core.metrics.roc import roc, thin
from core.metrics.scored import split_by_membership


@dataclass(frozen=True)
class Epsilon:
    """A lower bound of ε and what it came from."""

    value: float
    level: float
    heuristic: bool
    """True where the records are not independent trials of the whole training, as in one run with fixed members."""
    guesses: int | None = None
    """Of a one-run audit: how many records were guessed,"""
    correct: int | None = None
    """and how many of the guesses were right."""


def epsilon_lower_bound(
    *, true_positives: int, members: int, false_positives: int, non_members: int, delta: float = 0, level: float = 0.95
) -> float:
    """max{ ln((TPR_lo − δ)/FPR_hi), ln((TNR_lo − δ)/FNR_hi), 0 } with Clopper–Pearson bounds (Nasr 2021).

    Both ratios use the same two bounds (TNR_lo = 1 − FPR_hi, FNR_hi = 1 − TPR_lo), so each takes half of 1 − level.
    Counts at one threshold that was chosen elsewhere.
    """
    # a two-sided interval of this level gives each of its ends the confidence that one of two bounds needs
    found = clopper_pearson(true_positives, members, level).low
    alarmed = clopper_pearson(false_positives, non_members, level).high
    ratios = [(found - delta, alarmed), (1 - alarmed - delta, 1 - found)]
    return max([0.0] + [float(np.log(top / bottom)) for top, bottom in ratios if top > 0 and bottom > 0])


def empirical_epsilon(
    *, scores: np.ndarray, is_member: np.ndarray, threshold: float, delta: float = 0, level: float = 0.95
) -> Epsilon:
    """`epsilon_lower_bound` of one target at a given threshold (score ≥ threshold means "member").

    Heuristic: the records of one training run are not independent runs.
    """
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    value = epsilon_lower_bound(
        true_positives=int((members >= threshold).sum()),
        members=len(members),
        false_positives=int((non_members >= threshold).sum()),
        non_members=len(non_members),
        delta=delta,
        level=level,
    )
    return Epsilon(value, level, heuristic=True)


def best_epsilon_threshold(*, scores: np.ndarray, is_member: np.ndarray, level: float = 0.95) -> float:
    """The threshold of the largest `epsilon_lower_bound` (δ = 0) among 500 vertices of the ROC, spaced by their FPR.

    Give it shadow models' scores: on the records it was chosen on, the bound does not hold. The strictest one among
    equals.
    """
    curve, tail = thin(roc(scores=scores, is_member=is_member)), (1 - level) / 2
    hits, alarms = np.rint(curve.tpr * curve.members), np.rint(curve.fpr * curve.non_members)
    # Clopper–Pearson of all vertices at once; at 0 hits and at all alarms the quantile is no number
    found = np.where(hits > 0, scipy.stats.beta.ppf(tail, np.maximum(hits, 1), curve.members - hits + 1), 0.0)
    left = np.maximum(curve.non_members - alarms, 1)
    alarmed = np.where(alarms < curve.non_members, scipy.stats.beta.ppf(1 - tail, alarms + 1, left), 1.0)
    with np.errstate(divide="ignore"):
        bound = np.maximum(np.log(found) - np.log(alarmed), np.log1p(-alarmed) - np.log1p(-found))
    return float(curve.thresholds[np.argmax(bound)])


def one_run_epsilon(
    *, guesses: int, correct: int, records: int | None = None, delta: float = 0, level: float = 0.95
) -> float:
    """Largest ε refuted by `correct` right guesses of `guesses` in one run (Steinke 2023, theorem 5.2).

    ε-DP bounds the chance of v right of r by P[Bin(r, e^ε/(1+e^ε)) ≥ v]; the bound is the largest ε at which that is
    still under 1 − level. With δ > 0 the chance grows by 2·m·δ·max_i P[v−i ≤ Bin < v]/i over `records` = m randomised
    records. 100 right of 100 → 3.49; 600 of 1 000 → .30.
    """
    if not 0 <= correct <= guesses or guesses < 1:
        raise BadInput(f"the audit needs 0 ≤ correct ≤ guesses with at least one guess (got {correct} of {guesses})")
    beta = 1 - level
    if not delta:
        share = scipy.stats.beta.ppf(beta, correct, guesses - correct + 1) if correct else 0.0
        return float(max(0.0, np.log(share) - np.log1p(-share))) if share > 0 else 0.0
    records = guesses if records is None else records
    low, high = 0.0, one_run_epsilon(guesses=guesses, correct=correct, level=level)
    if _chance(low, guesses, correct, records, delta) > beta:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance(middle, guesses, correct, records, delta) < beta else (low, middle)
    return low


def one_run_audit(
    *, scores: np.ndarray, is_member: np.ndarray, guesses: int, delta: float = 0, level: float = 0.95
) -> Epsilon:
    """Guess "member" for the guesses/2 highest scores and "non-member" for the guesses/2 lowest; abstain on the rest.

    A valid bound where a fair, independent coin decided each record's membership; a balanced split is nearly that.
    Fix `guesses` beforehand: the best of several is optimistic.
    """
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    total = len(members) + len(non_members)
    if not 2 <= guesses <= total:
        raise BadInput(f"the audit can guess 2 to {total} records (got {guesses})")
    order = np.argsort(scores, kind="stable")
    hit = np.asarray(is_member, bool)[order]
    half = guesses // 2
    correct = int(hit[total - half :].sum() + (~hit[:half]).sum())
    value = one_run_epsilon(guesses=2 * half, correct=correct, records=total, delta=delta, level=level)
    return Epsilon(value, level, heuristic=False, guesses=2 * half, correct=correct)


def _chance(epsilon: float, guesses: int, correct: int, records: int, delta: float) -> float:
    """Upper bound of the chance of at least `correct` right guesses under (ε, δ)-DP."""
    right = 1 / (1 + np.exp(-epsilon))
    steps = np.arange(1, correct + 1)
    just_below = np.cumsum(scipy.stats.binom.pmf(correct - steps, guesses, right))
    worst = float((just_below / steps).max(initial=0.0))
    return float(scipy.stats.binom.sf(correct - 1, guesses, right)) + 2 * records * delta * worst
