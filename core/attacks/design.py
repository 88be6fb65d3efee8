"""Which records each reference model trains on."""

from __future__ import annotations

import numpy as np

from core.config import BadInput

UNEQUAL = 0.05
"""Share by which the numbers of records that references and target train on may differ before it is said."""


def design_matrix(*, models: int, points: int, seed: int) -> np.ndarray:
    """[M, N] bool: row m marks the records that model m trains on; every record is in exactly half of the models.

    Models come in pairs: 2i trains on a random half of the points, 2i + 1 on the other half. So any even M is
    balanced, and a larger M keeps the rows of a smaller one: raising M from 8 to 16 trains eight models more. (Ranking
    M random numbers per point, Carlini 2022, is balanced as well but changes every row when M changes.) Each pair has
    its own random stream under `seed`. With an odd number of points one model of a pair gets the one more.
    """
    if models < 2 or models % 2:
        raise BadInput(f"reference models come in pairs of complementary halves: choose an even number (got {models})")
    if points < 2:
        raise BadInput(f"a random half needs at least 2 records in the pool (got {points})")
    rows = np.zeros((models, points), bool)
    for pair in range(models // 2):
        order = np.random.default_rng([seed, pair]).permutation(points)
        rows[2 * pair, order[: points // 2]] = True
        rows[2 * pair + 1] = ~rows[2 * pair]
    return rows


def other_pairs(*, reference_in: np.ndarray, target: int) -> np.ndarray:
    """Models that may serve as references when model `target` of the matrix [M, N] is attacked: indices, rising.

    Without the target, and without the model on exactly the other half: with it, the members of the target would be
    in one reference fewer than its non-members, and that count alone would give membership away.
    """
    own = reference_in[target]
    return np.array([m for m in range(len(reference_in)) if m != target and (reference_in[m] == own).any()], int)


def unequal(*, references: int, target: int) -> str:
    """Words for where reference models train on another number of records than the target, by more than 5 %: they are
    then surer or less sure of all records than the target is. Empty where not."""
    if abs(references - target) <= UNEQUAL * target:
        return ""
    return f"references trained on {references} records, the target on {target}"
