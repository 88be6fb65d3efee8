"""RAPID: learn how far to trust difficulty calibration."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from core.attacks.base import Attack, Signals
from core.attacks.design import other_pairs
from core.attacks.learned import fit_classifier
from core.attacks.references import as_target, first_query, log_likelihood, masked_mean, problem_with_references


class RapidAttack(Attack):
    """Difficulty calibration errs on records that even their OUT models find easy; the raw loss errs on hard ones.

    A small network learns to weigh the two: inputs are the raw score log p_y and the calibrated one (minus the mean
    over OUT references), trained where membership is known, namely on reference models put in the target's place and
    calibrated with the others (He, CCS 2024). Score: its logit. Unlike the paper's, the network is scikit-learn's."""

    kind: Literal["rapid"] = "rapid"
    title: ClassVar[str] = "RAPID"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_phi", "reference_in"})

    shadows: int = Field(1, ge=1, le=64)
    """Reference models put in the target's place to learn from."""
    seed: int = Field(0, ge=0)
    """Seed of the small network."""

    def is_compatible(self, signals: Signals) -> str | None:
        problem = problem_with_references(signals, title=self.title, inside=0, outside=1)
        if problem or not len(self._usable(signals)):
            return problem or (
                f"{self.title} attacks one reference with the others and needs two pairs of halves: raise "
                f"audit.shadows.models to 4 or more (there are {len(signals.reference_in)})"  # type: ignore[arg-type]
            )
        return None

    def __call__(self, signals: Signals) -> np.ndarray:
        shadows = [as_target(signals, m) for m in self._usable(signals)[: self.shadows]]
        classify = fit_classifier(
            features=np.concatenate([_features(shadow) for shadow, _ in shadows]),
            is_member=np.concatenate([member for _, member in shadows]),
            hidden=(32, 16),
            seed=self.seed,
        )
        return classify(_features(signals))

    def _usable(self, signals: Signals) -> list[int]:
        """References with members and non-members whose remaining references leave out each record at least once."""
        is_in = np.asarray(signals.reference_in, bool)
        usable = []
        for model in range(len(is_in)):
            others = other_pairs(reference_in=is_in, target=model)
            if 0 < is_in[model].sum() < is_in.shape[1] and len(others) and (~is_in[others]).any(axis=0).all():
                usable.append(model)
        return usable


def _features(signals: Signals) -> np.ndarray:
    """[N, 2]: raw and calibrated score."""
    target, references = (log_likelihood(phi) for phi in first_query(signals))
    return np.stack(
        [target, target - masked_mean(values=references, mask=~np.asarray(signals.reference_in, bool))], axis=1
    )
