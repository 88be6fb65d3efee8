"""Whether attacks point at the same members: how many of the most exposed ones two attacks share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

SHARE = 0.05
"""Of the members, how many count as most exposed."""


def agreement(records: pd.DataFrame, attacks: Sequence[str], share: float = SHARE) -> pd.DataFrame:
    """One row per pair of attacks, from a records table with `member` and a column score_* per attack.

    Columns: first, second, members (that both scored), k (most exposed of them: `share`, at least one), shared (of
    the k, how many are among the k of both), expected (k²/n: what two unrelated rankings share on average). Equal
    scores at the end of the k are drawn by lot, so `shared` is what such draws share on average and need not be whole.
    """
    members = records[records["member"]]
    scores = {name: members[f"score_{name}"].to_numpy(float) for name in attacks if f"score_{name}" in members}
    rows = []
    for first, second in combinations(scores, 2):
        known = np.isfinite(scores[first]) & np.isfinite(scores[second])
        count = int(known.sum())
        if not count:
            continue
        k = max(1, round(share * count))
        chances = [top_chances(scores=scores[name][known], k=k) for name in (first, second)]
        rows.append((first, second, count, k, float(chances[0] @ chances[1]), k * k / count))
    return pd.DataFrame(rows, columns=["first", "second", "members", "k", "shared", "expected"])


def top_chances(*, scores: np.ndarray, k: int) -> np.ndarray:
    """[N] chance of each record to be among the k highest scores [N] where ties are drawn by lot; they add up to k."""
    last = np.partition(scores, len(scores) - k)[len(scores) - k]
    above, tied = scores > last, scores == last
    return above + tied * (k - above.sum()) / tied.sum()
