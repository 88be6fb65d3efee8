"""Does the risk move? Vulnerability of a model before and after its most vulnerable weights were rewound.

Three scores of the same W weights: `vulnerability` of the training run that chose them, `onion_before` of the same
base fine-tuned in the same way with nothing rewound and scored again, `onion_after` of the rewound and fine-tuned one.
The second is the control: what fine-tuning and scoring again change by themselves is not the rewind's doing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

KINDS = ("vulnerability", "onion_before", "onion_after")
FRACTIONS = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2)
PAIRS = (("vulnerability", "onion_before"), ("vulnerability", "onion_after"))


def shares(*, layers: pd.DataFrame, scores: dict[str, np.ndarray], rewound: np.ndarray) -> pd.DataFrame:
    """Per layer the share of each score's total, and how much of it lies on the rewound weights.

    layers: name, region, type, count in the order of the flat scores [W]; rewound [W] bool. Adds one column per score
    and `<score>_rewound`, all fractions of that score's total over the network.
    """
    ends = np.cumsum(layers["count"].to_numpy())
    starts = ends - layers["count"].to_numpy()
    out = layers.copy()
    for kind in KINDS:
        score = scores[kind].astype(np.float64)
        total = score.sum() or 1.0
        out[kind] = [score[a:b].sum() / total for a, b in zip(starts, ends, strict=True)]
        out[f"{kind}_rewound"] = [score[a:b][rewound[a:b]].sum() / total for a, b in zip(starts, ends, strict=True)]
    return out


def overlaps(*, scores: dict[str, np.ndarray], rewound: np.ndarray) -> pd.DataFrame:
    """How many of the top-r weights two scores share, for several r, with all weights and among the free ones.

    Columns: fraction, old, new (names of the scores), weights (size of the top), overlap (share of the top in both),
    chance (the overlap of two random choices), free (bool: rewound weights left out of both).
    """
    rows = []
    for free in (False, True):
        chosen = {kind: score[~rewound] if free else score for kind, score in scores.items()}
        size = len(chosen["vulnerability"])
        for fraction in FRACTIONS:
            count = round(fraction * size)
            if not count:
                continue
            top = {kind: _top(score, count) for kind, score in chosen.items()}
            rows += [
                {
                    "fraction": fraction,
                    "old": old,
                    "new": new,
                    "weights": count,
                    "overlap": float((top[old] & top[new]).sum() / count),
                    "chance": count / size,
                    "free": free,
                }
                for old, new in PAIRS
            ]
    return pd.DataFrame(rows, columns=["fraction", "old", "new", "weights", "overlap", "chance", "free"])


def _top(score: np.ndarray, count: int) -> np.ndarray:
    """[W] bool, exactly `count` weights of the highest score; ties in flat order."""
    marked = np.zeros(len(score), bool)
    marked[np.argsort(-score, kind="stable")[:count]] = True
    return marked
