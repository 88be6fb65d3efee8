"""What one attack achieved on one target, as one flat row of a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from core.attacks.elsewhere import Known, judged
from core.metrics import auc, mean_exposure, paired_delong, tpr_at_fpr

FALSE_POSITIVE_RATES = {"tpr_01": 0.01, "tpr_001": 0.001}
"""Column prefix of each target FPR: 1 % and 0.1 %."""


def evaluate(
    *,
    scores: np.ndarray,
    is_member: np.ndarray,
    known: Known | None = None,
    source: str = "references",
    level: float = 0.95,
) -> dict[str, Any]:
    """One row: AUC, TPR at 1 % and 0.1 % FPR, balanced accuracy and ε, each with its counts and interval.

    known: scores and membership of other records, on which thresholds are chosen; source: what they come from.
    Columns: auc, auc_low, auc_high, members, non_members; for each prefix p of tpr_01 (1 %) and tpr_001 (0.1 %): p,
    p_low, p_high, p_true_positives, p_false_positives, p_resolvable, p_certified, p_certified_low, p_certified_high,
    p_certified_true_positives, p_certified_false_positives (None where n₀ cannot certify it); and those of
    `core.attacks.elsewhere.judged`.
    """
    area = auc(scores=scores, is_member=is_member, level=level)
    row: dict[str, Any] = {"auc": area.value, "auc_low": area.low, "auc_high": area.high}
    for prefix, fpr in FALSE_POSITIVE_RATES.items():
        found = tpr_at_fpr(scores=scores, is_member=is_member, fpr=fpr, level=level)
        row |= {"members": found.members, "non_members": found.non_members}
        row |= {
            prefix: found.tpr,
            f"{prefix}_low": found.low,
            f"{prefix}_high": found.high,
            f"{prefix}_true_positives": found.true_positives,
            f"{prefix}_false_positives": found.false_positives,
            f"{prefix}_resolvable": found.resolvable,
            f"{prefix}_certified": found.certified_tpr,
            f"{prefix}_certified_low": found.certified_low,
            f"{prefix}_certified_high": found.certified_high,
            f"{prefix}_certified_true_positives": found.certified_true_positives,
            f"{prefix}_certified_false_positives": found.certified_false_positives,
        }
    return row | judged(scores=scores, is_member=is_member, known=known, level=level, source=source)


def exposure_columns(*, scores: np.ndarray, is_member: np.ndarray, level: float = 0.95) -> dict[str, float]:
    """exposure (mean bits over canaries), exposure_low, exposure_high, exposure_chance."""
    found = mean_exposure(scores=scores, is_member=is_member, level=level)
    ends = {"exposure_low": found.low, "exposure_high": found.high}
    return {"exposure": found.value, **ends, "exposure_chance": found.chance}


def compare(
    *, before_scores: np.ndarray, after_scores: np.ndarray, is_member: np.ndarray, level: float = 0.95
) -> dict[str, float]:
    """AUC after minus before on the same records: difference, low, high, p_value, z (paired DeLong)."""
    return asdict(paired_delong(before=before_scores, after=after_scores, is_member=is_member, level=level))
