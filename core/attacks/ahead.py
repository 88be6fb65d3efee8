"""Which attacks an audit will leave out, known before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from core.attacks.base import Signals
from core.attacks.design import design_matrix
from core.audit import attacks_of

if TYPE_CHECKING:
    from core.experiment import Experiment

SOME = 64
"""Audited records, and reference models at most, of the sketch: no attack asks for more before it runs."""


def cannot_run(experiment: Experiment) -> dict[str, str]:
    """Attacks of the experiment that its audit of the trained model will leave out, by name: why, in words."""
    audit = experiment.audit
    seen = expected_signals(
        population=experiment.data.population,
        models=audit.shadows.models,
        queries=audit.shadows.queries,
        gradients=audit.gradient_records > 0,
        epochs=0 if experiment.weights else experiment.train.epochs,
    )
    reasons = {name: attack.is_compatible(seen) for name, attack in attacks_of(audit).items()}
    return {name: reason for name, reason in reasons.items() if reason}


def expected_signals(*, population: int, models: int, queries: int, gradients: bool, epochs: int) -> Signals:
    """Signals with nothing in them but what an audit will have: zeros in a few records, to ask `Attack.is_compatible`.

    population: records that are kept aside. models, queries: of the reference models, none where models is 0.
    gradients: whether any are computed. epochs: of the training whose losses are noted, 0 where weights are brought.
    """
    models = min(models, SOME)
    return Signals(
        logits=_zeros(SOME, 2),
        labels=np.zeros(SOME, np.int64),
        features=_zeros(SOME, 1),
        population_logits=_zeros(population, 2),
        population_labels=np.zeros(population, np.int64),
        population_features=_zeros(population, 1),
        gradient_norms=_zeros(SOME) if gradients else None,
        query_labels=np.zeros((SOME, queries), np.int64) if queries > 1 else None,
        trajectory=_zeros(SOME, epochs) if epochs else None,
        reference_in=design_matrix(models=models, points=SOME, seed=0) if models else None,
        reference_phi=_zeros(models, SOME, queries) if models else None,
        reference_logits=_zeros(models, SOME, 2) if models else None,
    )


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)
