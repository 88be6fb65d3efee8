"""What attacks with reference models share: masked statistics over IN and OUT models, and their preconditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.attacks.base import REMEDIES, Signals
from core.attacks.design import other_pairs

BLOCK = 2**22
"""Numbers per block of records: bounds the memory of masked statistics whatever M and N."""


@dataclass(frozen=True)
class Moments:
    """Per record [N]: how many reference models count, their median and their variance (ddof 1)."""

    count: np.ndarray
    median: np.ndarray
    variance: np.ndarray
    """NaN below two models."""

    @property
    def pooled_variance(self) -> float:
        """Variance within records over all records, Σ(n−1)s² / Σ(n−1): spread between records plays no part."""
        known = self.count > 1
        freedom = self.count[known] - 1
        return float((freedom * self.variance[known]).sum() / freedom.sum())


def moments(*, values: np.ndarray, mask: np.ndarray) -> Moments:
    """Statistics over the models that `mask` [M, N] marks, of values [M, N]; in float64, blockwise over records."""
    models, records = values.shape
    count, median, variance = mask.sum(axis=0), np.empty(records), np.empty(records)
    step = max(1, BLOCK // models)
    for start in range(0, records, step):
        block = slice(start, start + step)
        # models along the fast axis: sorting and summing then walk through memory in order
        value, chosen = np.ascontiguousarray(values[:, block].T, np.float64), np.ascontiguousarray(mask[:, block].T)
        n, rows = count[block], np.arange(value.shape[0])
        ranked = np.sort(np.where(chosen, value, np.inf), axis=1)
        middle = ranked[rows, np.maximum(n - 1, 0) // 2] + ranked[rows, n // 2]
        median[block] = np.where(n > 0, middle / 2, np.nan)
        mean = np.where(chosen, value, 0).sum(axis=1) / np.maximum(n, 1)
        squares = (np.where(chosen, value - mean[:, None], 0) ** 2).sum(axis=1)
        variance[block] = np.where(n > 1, squares / np.maximum(n - 1, 1), np.nan)
    return Moments(count, median, variance)


def masked_mean(*, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[N] mean of values [M, N] over the models that `mask` [M, N] marks, NaN where it marks none; float64."""
    count = mask.sum(axis=0)
    total = np.zeros(values.shape[1])
    for value, chosen in zip(values, mask, strict=True):
        total += np.where(chosen, value, 0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def queries(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """(target [N, Q], references [M, N, Q]) scaled logits of the queries both were asked."""
    assert signals.reference_phi is not None
    target = signals.phi[:, None] if signals.query_phi is None else signals.query_phi
    shared = min(target.shape[1], signals.reference_phi.shape[2])
    return target[:, :shared], signals.reference_phi[:, :, :shared]


def asked(signals: Signals) -> dict[str, str | int | float]:
    """How many queries per record both were asked, to be shown where it is more than the record itself."""
    count = queries(signals)[0].shape[1]
    return {"queries": count} if count > 1 else {}


def first_query(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """(target [N], references [M, N]) scaled logits of the record itself."""
    target, references = queries(signals)
    return target[:, 0], references[:, :, 0]


def log_likelihood(phi: np.ndarray) -> np.ndarray:
    """log p_y = −loss from scaled logits, float64, any shape."""
    return -np.logaddexp(0.0, -np.asarray(phi, np.float64))


def problem_with_references(signals: Signals, *, title: str, inside: int, outside: int) -> str | None:
    """Why the references do not serve, in words, or None. inside / outside: IN / OUT models each record must have."""
    phi, is_in = signals.reference_phi, signals.reference_in
    if phi is None or is_in is None or not len(phi) or not len(is_in):
        return f"{title} needs reference models: {REMEDIES['reference_phi']}"
    if phi.shape[:2] != is_in.shape or phi.shape[1] != len(signals.labels):
        return f"{title}: reference outputs {phi.shape} and membership {is_in.shape} differ in models or records"
    diverged = [m for m in range(len(phi)) if not np.isfinite(phi[m]).all()]
    if diverged:
        return (
            f"{title}: reference model {diverged[0]} gave outputs that are not finite, it diverged: "
            "lower the learning rate"
        )
    for needed, counts, words in (
        (inside, is_in.sum(axis=0), "trained on"),
        (outside, (~is_in).sum(axis=0), "without"),
    ):
        if len(counts) and counts.min() < needed:
            return (
                f"{title} needs at least {needed} reference models {words} each record, some records have "
                f"{counts.min()}: raise audit.shadows.models to {2 * max(inside, outside)} or more "
                f"(there are {len(phi)})"
            )
    return None


def as_target(signals: Signals, target: int) -> tuple[Signals, np.ndarray]:
    """(signals with reference `target` in the place of the target, its membership [N]): an attack on ourselves.

    References are those of `other_pairs`. What is known of reference models is kept: φ, the logits of this one where
    it has some, those of the others and trajectories where all have some. As logits that are not known stand [φ, 0]
    with label 0, a two-class output of exactly that φ.
    """
    assert signals.reference_phi is not None and signals.reference_in is not None
    others = other_pairs(reference_in=signals.reference_in, target=target)
    population = signals.reference_population_phi
    known = np.empty((0, 1)) if population is None or not len(population) else population[target]
    logits, paths = signals.reference_logits, signals.reference_trajectory
    own = None if logits is None or len(logits) <= target else logits[target]
    logits, paths = (None if of is None or len(of) < len(signals.reference_in) else of for of in (logits, paths))
    shadow = Signals(
        logits=_two_class(signals.reference_phi[target, :, 0]) if own is None else own,
        labels=np.zeros(len(signals.labels), np.int64) if own is None else signals.labels,
        population_logits=_two_class(known[:, 0]),
        population_labels=np.zeros(len(known), np.int64),
        query_phi=signals.reference_phi[target],
        reference_phi=signals.reference_phi[others],
        reference_in=signals.reference_in[others],
        reference_population_phi=None if population is None or not len(population) else population[others],
        reference_logits=None if logits is None else logits[others],
        trajectory=None if paths is None else paths[target],
        reference_trajectory=None if paths is None else paths[others],
    )
    return shadow, signals.reference_in[target]


def _two_class(phi: np.ndarray) -> np.ndarray:
    return np.stack([phi, np.zeros_like(phi)], axis=1).astype(np.float32)
