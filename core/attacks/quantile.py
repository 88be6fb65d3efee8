"""Quantile regression: the audit without reference models."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from core.attacks.base import Attack, Signals


class QuantileAttack(Attack):
    """Predict from the record alone how sure the target would be of it had it not trained on it; members exceed that.

    On public non-members, gradient-boosted trees learn the mean μ(x, y) and the spread σ(x, y) of the margin
    z_y − max_{j≠y} z_j given the record's features and label; the score is (margin − μ)/σ, and a threshold on it is a
    quantile that depends on the record (Bertran 2023). No model is trained but the regressors: seconds instead of
    hours. (The paper fits quantiles with a network; here mean and log-spread.) Only as good as its features: where
    they say nothing about difficulty, this is the margin itself."""

    kind: Literal["quantile"] = "quantile"
    title: ClassVar[str] = "Quantile regression"
    needs: ClassVar[frozenset[str]] = frozenset({"features", "population_features", "population_logits"})

    components: int = Field(32, ge=1, le=1000)
    """Features with more columns than this are first reduced to so many principal components of the population."""
    seed: int = Field(0, ge=0)
    """Seed of the regressors."""

    FEWEST: ClassVar[int] = 50

    def is_compatible(self, signals: Signals) -> str | None:
        missing = super().is_compatible(signals)
        if missing is None and len(signals.population_labels) < self.FEWEST:
            return (
                f"{self.title} learns from population records and needs at least {self.FEWEST} "
                f"(there are {len(signals.population_labels)}): raise data.population"
            )
        return missing

    def __call__(self, signals: Signals) -> np.ndarray:
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.model_selection import cross_val_predict

        known, asked = self._inputs(signals)
        margins = margin(logits=signals.population_logits, labels=signals.population_labels)
        regressor = HistGradientBoostingRegressor(
            max_iter=100, learning_rate=0.1, max_leaf_nodes=15, random_state=self.seed
        )
        # residuals of records the regressor has not seen: it has not seen the audited ones either
        residuals = margins - cross_val_predict(regressor, known, margins, cv=5)
        floor = 1e-3 * residuals.std() + 1e-12
        spread = HistGradientBoostingRegressor(
            max_iter=50, learning_rate=0.05, max_leaf_nodes=7, min_samples_leaf=40, random_state=self.seed
        )
        spread.fit(known, np.log(np.abs(residuals) + floor))
        mean = regressor.fit(known, margins).predict(asked)
        return (margin(logits=signals.logits, labels=signals.labels) - mean) / np.exp(spread.predict(asked))

    def _inputs(self, signals: Signals) -> tuple[np.ndarray, np.ndarray]:
        """(population [P, F'], audited [N, F']) features with the label in front."""
        known = np.asarray(signals.population_features, np.float64).reshape(len(signals.population_labels), -1)
        asked = np.asarray(signals.features, np.float64).reshape(len(signals.labels), -1)
        if known.shape[1] > self.components:
            from sklearn.decomposition import PCA

            reduce = PCA(min(self.components, len(known)), svd_solver="randomized", random_state=self.seed).fit(known)
            known, asked = reduce.transform(known), reduce.transform(asked)
        return np.c_[signals.population_labels, known], np.c_[signals.labels, asked]


def margin(*, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """z_y − max_{j≠y} z_j, [N] float64 from logits [N, K]."""
    z = np.array(logits, np.float64)
    rows = np.arange(len(z))
    own = z[rows, labels].copy()
    z[rows, labels] = -np.inf
    return own - z.max(axis=1)
