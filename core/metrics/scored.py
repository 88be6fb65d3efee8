"""The one check that every metric makes of its input."""

from __future__ import annotations

import numpy as np

from core.config import BadInput


def split_by_membership(*, scores: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores [N] as (members [n1], non-members [n0]), float64. Infinite scores are allowed: they only rank.

    Raises BadInput on unequal lengths, on NaN and where one of the two groups is empty.
    """
    scores, is_member = np.asarray(scores, np.float64), np.asarray(is_member)
    if scores.ndim != 1 or scores.shape != is_member.shape:
        raise BadInput(f"scores {scores.shape} and membership {is_member.shape} must be two lists of the same length")
    missing = int(np.isnan(scores).sum())
    if missing:
        raise BadInput(f"{missing} of {len(scores)} scores are not a number: the attack or the model diverged")
    is_member = is_member.astype(bool)
    members, non_members = scores[is_member], scores[~is_member]
    if not len(members) or not len(non_members):
        raise BadInput(f"needs both members and non-members (got {len(members)} and {len(non_members)})")
    return members, non_members
