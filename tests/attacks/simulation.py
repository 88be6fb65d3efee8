"""Gaussian scaled logits with known answers, for the attacks on reference models."""

import numpy as np

from core.attacks import Signals, design_matrix


def simulate(*, models, records, gain=1.0, spread=1.0, hardness=3.0, queries=1, population=0, seed=0, vary=False):
    """(signals, is_member): φ ~ N(μ_i + gain·[trained on i], σ_i²), μ_i ~ N(0, hardness²).

    The target is one more model of the same law. vary: σ_i from .3 to 3 times spread instead of spread.
    """
    generator = np.random.default_rng(seed)
    rows = design_matrix(models=models, points=records, seed=seed)
    member = generator.permutation(records) < records // 2
    level = hardness * generator.normal(size=records)[:, None]
    sigma = (spread * np.exp(generator.uniform(np.log(0.3), np.log(3), records)) if vary else np.full(records, spread))[
        :, None
    ]

    def draw(inside):
        return level + gain * inside[:, None] + sigma * generator.normal(size=(records, queries))

    target = draw(member).astype(np.float32)
    known = hardness * generator.normal(size=(population, 1))
    return (
        Signals(
            logits=two_class(target[:, 0]),
            labels=np.zeros(records, int),
            query_phi=target,
            reference_phi=np.stack([draw(row) for row in rows]).astype(np.float32),
            reference_in=rows,
            population_logits=two_class((known + spread * generator.normal(size=(population, 1)))[:, 0]),
            population_labels=np.zeros(population, int),
            reference_population_phi=np.stack(
                [known + spread * generator.normal(size=(population, 1)) for _ in rows]
            ).astype(np.float32),
        ),
        member,
    )


def two_class(phi):
    """[N] scaled logits as two-class logits with label 0."""
    return np.stack([phi, np.zeros_like(phi)], axis=1).astype(np.float32)
