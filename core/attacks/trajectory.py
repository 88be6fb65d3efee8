"""Loss trajectory: not only how a record ended, but how it got there."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from core.attacks.base import REMEDIES, Attack, Signals
from core.attacks.learned import MOST_ROWS


class TrajectoryAttack(Attack):
    """Two records may end at the same loss, one because it was easy from the first epoch, one because it was learned
    by heart in the last: the losses at saved checkpoints tell them apart.

    For an auditor who has the checkpoints (Liu 2022 imitates them by distillation, which is not done here). Losses
    become scaled logits, standardised at each checkpoint by median and quartiles of known non-members (of all audited
    records where there are none). With trajectories of reference models, a logistic regression learns on them what to
    make of the sequence; without, the score is the plain mean over checkpoints, which is modest: it says that a
    member is fitted early and stays so."""

    kind: Literal["trajectory"] = "trajectory"
    title: ClassVar[str] = "Loss trajectory, white box"
    needs: ClassVar[frozenset[str]] = frozenset({"trajectory"})

    use_references: bool = True
    """Learn the weight of each checkpoint from reference models where their checkpoints were saved."""
    seed: int = Field(0, ge=0)
    """Seed of the choice of records to learn from."""

    def is_compatible(self, signals: Signals) -> str | None:
        path = signals.trajectory
        if path is None or not len(path):
            return (
                f"{self.title} needs the losses at several epochs of the training, which weights that were brought, "
                f"and models that no epoch of training ended in, come without: {REMEDIES['trajectory']}"
            )
        if path.shape[1] < 2:
            return f"{self.title} needs a path (epochs of training: {path.shape[1]}): {REMEDIES['trajectory']}"
        return None

    def looks_at_references(self, signals: Signals) -> bool:
        return self._learns(signals)

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        checkpoints = np.asarray(signals.trajectory).shape[1]
        return {"checkpoints": checkpoints, "weights": "learned" if self._learns(signals) else "equal"}

    def __call__(self, signals: Signals) -> np.ndarray:
        path, known = scaled(np.asarray(signals.trajectory)), signals.population_trajectory
        alone = known is None or not len(known)
        path = standardised(path, path if alone else scaled(np.asarray(known)))
        if not self._learns(signals):
            return path.mean(axis=1)
        from sklearn.linear_model import LogisticRegression

        paths = [scaled(shadow) for shadow in np.asarray(signals.reference_trajectory)]
        is_in = np.asarray(signals.reference_in, bool)[: len(paths)]
        # the same yardstick as the target's: its own non-members play the part of the population where there is one
        pairs = zip(paths, is_in, strict=True)
        features = np.concatenate([standardised(p, p if alone else p[~member]) for p, member in pairs])
        rows = np.random.default_rng(self.seed).permutation(len(features))[:MOST_ROWS]
        learned = LogisticRegression(max_iter=500).fit(features[rows], is_in.ravel()[rows])
        return learned.decision_function(path)

    def _learns(self, signals: Signals) -> bool:
        shadows, is_in, path = signals.reference_trajectory, signals.reference_in, signals.trajectory
        if not self.use_references or shadows is None or is_in is None or path is None or not len(shadows):
            return False
        if shadows.shape[2] != path.shape[1]:  # fine-tuned for fewer epochs than these were trained: not comparable
            return False
        inside = is_in[: len(shadows)].sum(axis=1)
        return bool(((inside > 0) & (inside < is_in.shape[1])).all())


def scaled(losses: np.ndarray) -> np.ndarray:
    """φ = −log(e^l − 1) of cross-entropy losses of any shape: the scaled logit, on which differences are even."""
    losses = np.maximum(np.asarray(losses, np.float64), 1e-30)
    # e^l overflows where φ is simply −l
    return -(losses + np.log(-np.expm1(-losses)))


def standardised(path: np.ndarray, known: np.ndarray) -> np.ndarray:
    """path [N, T] minus the median of known [P, T], over its interquartile range, checkpoint by checkpoint."""
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75], axis=0)
    return (path - middle) / np.maximum(high - low, 1e-6)
