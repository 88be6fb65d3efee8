"""LiRA, the likelihood-ratio attack, online and offline."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from core.attacks.base import Attack, Signals
from core.attacks.references import Moments, asked, moments, problem_with_references, queries

ENOUGH_REFERENCES = 64
"""From this many on, 32 values a side estimate each record's own variance well enough (Carlini 2022)."""
Variance = Literal["per_example", "pooled", "shrunk"]


def log_density(*, values: np.ndarray | float, median: np.ndarray | float, variance: np.ndarray | float) -> np.ndarray:
    """Log of the Gaussian density, without the constant that a ratio of two densities loses."""
    return np.asarray(-0.5 * ((values - median) ** 2 / variance + np.log(variance)))


class _Lira(Attack):
    needs: ClassVar[frozenset[str]] = frozenset({"reference_phi", "reference_in"})

    variance: Literal["auto", "per_example", "pooled", "shrunk"] = "auto"
    """Whose spread of outputs is used: each record's own (needs 64 references or more), one for all records (pooled
    within records), or each record's own pulled towards the common one. Auto: own from 64 references, else pulled."""
    prior: float = Field(8.0, gt=0, le=1000)
    """How many reference models the common variance counts for when each record's own is pulled towards it."""

    def variance_for(self, references: int) -> Variance:
        """The variance that `auto` stands for with this many references."""
        if self.variance != "auto":
            return self.variance
        return "per_example" if references >= ENOUGH_REFERENCES else "shrunk"

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        assert signals.reference_phi is not None
        references = len(signals.reference_phi)
        variance: str = self.variance_for(references)
        if variance == "per_example" and references < ENOUGH_REFERENCES:
            variance += f" (noisy: from fewer than {ENOUGH_REFERENCES} references)"
        return {"references": references, "variance": variance, **asked(signals)}

    def settled(self, signals: Signals) -> Attack:
        assert signals.reference_phi is not None
        return self.model_copy(update={"variance": self.variance_for(len(signals.reference_phi))})

    def _variance(self, found: Moments, references: int) -> np.ndarray:
        """[N] variance of one side's Gaussians."""
        kind, pooled = self.variance_for(references), found.pooled_variance
        freedom = found.count - 1
        if kind == "pooled":
            variance = np.full(len(freedom), pooled)
        elif kind == "shrunk":
            variance = (self.prior * pooled + freedom * found.variance) / (self.prior + freedom)
        else:
            variance = found.variance
        # a record on which all references agree to the last bit must not get an infinite score
        return np.maximum(variance, max(1e-6 * pooled, 1e-12))

    def gaussians(self, *, values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(median [N], variance [N]) of the Gaussians over the models that `mask` [M, N] marks, of values [M, N]."""
        found = moments(values=values, mask=mask)
        return found.median, self._variance(found, len(values))


class LiraAttack(_Lira):
    """Ask two crowds: models that trained on this record and models that did not. Which crowd does the target join?

    For each record the scaled logits φ of the IN and of the OUT reference models are taken as two Gaussians; the
    score is log N(φ; μ_in, σ_in) − log N(φ; μ_out, σ_out), averaged over queries (Carlini 2022, online). It sees
    what a loss threshold cannot: a loss that is ordinary for models without this record is no sign of membership,
    however small. Means are medians. With few references the variance must be shared between records: pooled
    *within* records, for the spread between easy and hard ones is not uncertainty."""

    kind: Literal["lira"] = "lira"
    title: ClassVar[str] = "LiRA online"

    def is_compatible(self, signals: Signals) -> str | None:
        return problem_with_references(signals, title=self.title, inside=2, outside=2)

    def __call__(self, signals: Signals) -> np.ndarray:
        target, references = queries(signals)
        is_in = np.asarray(signals.reference_in, bool)
        score = np.zeros(len(target))
        for query in range(target.shape[1]):
            for sign, mask in ((1, is_in), (-1, ~is_in)):
                median, variance = self.gaussians(values=references[:, :, query], mask=mask)
                score += sign * log_density(values=target[:, query], median=median, variance=variance)
        return score / target.shape[1]


class LiraOfflineAttack(_Lira):
    """LiRA for an attacker whose reference models never saw the record: is the target surer of it than they all are?

    Score (φ − μ_out) / σ_out, averaged over queries, one-sided (Carlini 2022, eq. 4): only *more* certainty than the
    OUT models show speaks for membership. (The two-sided density that the reference code uses also flags records the
    target is unusually bad at, which are non-members.) Cheaper than online, as the same references serve every new
    record, and weaker."""

    kind: Literal["lira_offline"] = "lira_offline"
    title: ClassVar[str] = "LiRA offline"

    def is_compatible(self, signals: Signals) -> str | None:
        return problem_with_references(signals, title=self.title, inside=0, outside=2)

    def __call__(self, signals: Signals) -> np.ndarray:
        target, references = queries(signals)
        is_out = ~np.asarray(signals.reference_in, bool)
        score = np.zeros(len(target))
        for query in range(target.shape[1]):
            median, variance = self.gaussians(values=references[:, :, query], mask=is_out)
            score += (target[:, query] - median) / np.sqrt(variance)
        return score / target.shape[1]
