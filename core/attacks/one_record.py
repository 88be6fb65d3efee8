"""What LiRA sees of one record: the crowd of IN models, the crowd of OUT models, and the target between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.attacks.base import Signals
from core.attacks.lira import LiraAttack, Variance, log_density
from core.config import BadInput


@dataclass(frozen=True)
class Crowd:
    """The reference models on one side, and the Gaussian that LiRA lays over them."""

    phi: np.ndarray
    """[n] scaled logits, rising."""
    median: float
    variance: float

    @property
    def deviation(self) -> float:
        return float(np.sqrt(self.variance))

    def density(self, phi: np.ndarray | float) -> np.ndarray:
        """Density of the Gaussian at φ, any shape."""
        return np.exp(log_density(values=phi, median=self.median, variance=self.variance)) / np.sqrt(2 * np.pi)


@dataclass(frozen=True)
class OneRecord:
    """One record under the target and under its reference models."""

    target: float
    """φ of the target."""
    inside: Crowd
    outside: Crowd
    variance: Variance
    """Whose spread the Gaussians have."""

    @property
    def score(self) -> float:
        """log N(φ; IN) − log N(φ; OUT): LiRA's score where it asks about the record itself only."""
        inside, outside = (
            log_density(values=self.target, median=side.median, variance=side.variance)
            for side in (self.inside, self.outside)
        )
        return float(inside - outside)


@dataclass(frozen=True)
class Fits:
    """LiRA's Gaussians of all records, for the record itself (the first query). M references, N records."""

    phi: np.ndarray
    """[M, N]."""
    is_in: np.ndarray
    """[M, N] bool."""
    median: tuple[np.ndarray, np.ndarray]
    """[N] of the IN and of the OUT models."""
    variances: tuple[np.ndarray, np.ndarray]
    """[N] of both."""
    variance: Variance
    queries: int
    """How many questions per record the references were asked; with one, `OneRecord.score` is LiRA's score."""

    def scores(self, target: np.ndarray) -> np.ndarray:
        """[N] log-likelihood ratios of the target's φ [N]."""
        inside, outside = (
            log_density(values=target, median=median, variance=variance)
            for median, variance in zip(self.median, self.variances, strict=True)
        )
        return inside - outside

    def one(self, *, position: int, target: float) -> OneRecord:
        """The record at `position` of the N, for which the target says φ = `target`."""
        values, is_in = self.phi[:, position], self.is_in[:, position]
        inside, outside = (
            Crowd(np.sort(values[mask]), float(median[position]), float(variance[position]))
            for mask, median, variance in zip((is_in, ~is_in), self.median, self.variances, strict=True)
        )
        return OneRecord(float(target), inside, outside, self.variance)


def fit(*, reference_phi: np.ndarray, reference_in: np.ndarray, attack: LiraAttack | None = None) -> Fits:
    """The Gaussians of every record from references [M, N, Q] and their membership [M, N], as `attack` fits them.

    Raises BadInput, in words, where LiRA online does not apply. Source: Carlini 2022, algorithm 1.
    """
    attack = attack or LiraAttack()
    records = reference_phi.shape[1]
    seen = Signals(
        logits=np.zeros((records, 2), np.float32),  # the target plays no part in the fit
        labels=np.zeros(records, np.int64),
        reference_phi=reference_phi,
        reference_in=reference_in,
    )
    if reason := attack.is_compatible(seen):
        raise BadInput(reason)
    phi, is_in = reference_phi[:, :, 0], np.asarray(reference_in, bool)
    sides = [attack.gaussians(values=phi, mask=mask) for mask in (is_in, ~is_in)]
    return Fits(
        phi=phi,
        is_in=is_in,
        median=(sides[0][0], sides[1][0]),
        variances=(sides[0][1], sides[1][1]),
        variance=attack.variance_for(len(phi)),
        queries=reference_phi.shape[2],
    )
