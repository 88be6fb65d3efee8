"""The ROC curve of one attack on one target, from all its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.config import BadInput
from core.metrics.scored import split_by_membership


@dataclass(frozen=True)
class Roc:
    """Vertices of the curve, from (0, 0) to (1, 1). Vertex i calls "member" every record with score ≥ thresholds[i]."""

    fpr: np.ndarray
    """[V] share of the non-members called members, rising."""
    tpr: np.ndarray
    """[V] share of the members called members, rising."""
    thresholds: np.ndarray
    """[V] falling; the first is +inf (nobody is called a member)."""
    members: int
    non_members: int


def roc(*, scores: np.ndarray, is_member: np.ndarray) -> Roc:
    """All vertices of the ROC, one per distinct score: tied records enter as one block, in O(N log N)."""
    members, non_members = split_by_membership(scores=scores, is_member=is_member)
    values = np.concatenate([members, non_members])
    order = np.argsort(-values, kind="stable")
    ranked, hit = values[order], order < len(members)
    # compare rather than subtract: inf − inf is not a number
    last_of_block = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    true_positives = np.cumsum(hit)[last_of_block]
    false_positives = last_of_block + 1 - true_positives
    return Roc(
        fpr=np.concatenate([[0.0], false_positives / len(non_members)]),
        tpr=np.concatenate([[0.0], true_positives / len(members)]),
        thresholds=np.concatenate([[np.inf], ranked[last_of_block]]),
        members=len(members),
        non_members=len(non_members),
    )


def thin(roc: Roc, points: int = 500) -> Roc:
    """At most `points` of the true vertices, log-spaced in FPR, both ends kept: what is sent to a browser.

    At each grid FPR the vertex kept is the last one at or below it, so the thinned curve drawn as steps
    (hold, then rise: Plotly's line shape "hv") never lies above the true one.
    """
    if points < 4:
        raise BadInput(f"a curve needs at least 4 points (got {points})")
    if len(roc.fpr) <= points:
        return roc
    grid = np.concatenate([[0.0], np.geomspace(1 / roc.non_members, 1.0, points - 2)])
    # a count over n₀ and its grid value may differ in the last bit
    kept = np.searchsorted(roc.fpr, grid * (1 + 1e-12), side="right") - 1
    kept = np.unique(np.concatenate([[0], kept, [len(roc.fpr) - 1]]))
    return Roc(roc.fpr[kept], roc.tpr[kept], roc.thresholds[kept], roc.members, roc.non_members)


def table(roc: Roc) -> pd.DataFrame:
    """The curve as a table with columns fpr and tpr."""
    return pd.DataFrame({"fpr": roc.fpr, "tpr": roc.tpr})
