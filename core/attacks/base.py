"""What an attack is: a frozen config whose fields are its parameters and whose call maps signals to scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np

from core.config import Config


@dataclass(frozen=True)
class Signals:
    """Everything attacks may look at for one target. N audited records, P population records, M references.

    Membership itself is not here: an attack cannot look at the answer.
    """

    logits: np.ndarray
    """[N, K] float32, outputs of the target."""
    labels: np.ndarray
    """[N] int."""
    population_logits: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    """[P, K] outputs of the target on known non-members, disjoint from the audited records."""
    population_labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    gradient_norms: np.ndarray | None = None
    """[N] L2 norm of the loss gradient of each record over all weights."""
    reference_phi: np.ndarray | None = None
    """[M, N, Q] scaled logits of the audited records under the reference models, Q queries each."""
    reference_in: np.ndarray | None = None
    """[M, N] bool, whether reference m trained on record n."""
    reference_population_phi: np.ndarray | None = None
    """[M, P, Q] scaled logits of the population under the reference models."""
    query_phi: np.ndarray | None = None
    """[N, Q] scaled logits of the target, one column per query; column 0 is the record itself. Queries are those of
    `reference_phi`. None: only the record itself was asked, φ comes from `logits`."""
    query_labels: np.ndarray | None = None
    """[N, Q] int, labels the target predicts for Q augmented or noisy copies of each record."""
    reference_logits: np.ndarray | None = None
    """[L, N, K] outputs of the first L ≤ M reference models on the audited records."""
    features: np.ndarray | None = None
    """[N, F] description of the records themselves (pixels, table columns, an embedding), free of the target."""
    population_features: np.ndarray | None = None
    """[P, F] the same of the population."""
    trajectory: np.ndarray | None = None
    """[N, T] losses of the target at T checkpoints of its training, in order, the last one is the final model."""
    population_trajectory: np.ndarray | None = None
    """[P, T] the same of the population."""
    reference_trajectory: np.ndarray | None = None
    """[L, N, T] the same of the first L ≤ M reference models on the audited records."""

    @cached_property
    def phi(self) -> np.ndarray:
        """[N] scaled logits."""
        return scaled_logits(logits=self.logits, labels=self.labels)

    @cached_property
    def population_phi(self) -> np.ndarray:
        """[P] scaled logits of the population."""
        return scaled_logits(logits=self.population_logits, labels=self.population_labels)


_TRAIN_REFERENCES = "train reference models (audit.shadows.models)"
_KEEP_ASIDE = "keep some non-members aside in the split (data.population)"
REMEDIES = {
    "population_logits": _KEEP_ASIDE,
    "features": "audit a model together with its records",
    "population_features": _KEEP_ASIDE,
    "gradient_norms": "raise audit.gradient_records",
    "query_labels": "set Questions (audit.shadows.queries) to 2 or more",
    "trajectory": "train the model here, for 2 epochs or more (train.epochs)",
    "reference_phi": _TRAIN_REFERENCES,
    "reference_in": _TRAIN_REFERENCES,
    "reference_logits": _TRAIN_REFERENCES,
}
"""Signal that an attack may need → what to do where an audit has none."""


class Attack(Config):
    """Base of all attacks. `kind` is the registry name; higher scores mean more likely a member."""

    kind: str
    title: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Names of the optional Signals fields without which the attack does not apply."""

    @property
    def named(self) -> str:
        """The title, with the variant where that is another attack."""
        return self.title

    def is_compatible(self, signals: Signals) -> str | None:
        """None where the attack applies, else the reason in words and what to do about it."""
        for name in sorted(self.needs):
            value = getattr(signals, name)
            if value is None or len(value) == 0:
                return f"{self.title} needs {name.replace('_', ' ')}: {REMEDIES[name]}"
        return None

    def looks_at_references(self, signals: Signals) -> bool:
        """Whether the scores depend on reference models, and so on what these went through."""
        return any(name.startswith("reference_") for name in self.needs)

    def chosen(self, signals: Signals) -> dict[str, str | int | float]:
        """What the attack decided from the signals, and settings that are read with it, shown beside its result."""
        return {}

    def settled(self, signals: Signals) -> Attack:
        """The attack with what it chooses by the number of reference models fixed, to be run with fewer of them as it
        is run with all of `signals`."""
        return self

    def calibrated(self, signals: Signals) -> np.ndarray | None:
        """[N] the score on the scale its paper reports, where an attack ranks by something finer; else None."""
        return None

    def __call__(self, signals: Signals) -> np.ndarray:
        """[N] scores, higher = more likely a member."""
        raise NotImplementedError


def scaled_logits(*, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """φ = z_y − logsumexp over the other classes, [N] float32, computed in float64 from logits [N, K].

    p_y = sigmoid(φ) and loss = softplus(−φ), without the rounding of p_y to 1 (Carlini 2022, §4).
    """
    z = np.asarray(logits, np.float64)
    rows = np.arange(len(z))
    own = z[rows, labels].copy()
    z = z.copy()
    z[rows, labels] = -np.inf
    top = z.max(axis=1, initial=-np.inf, keepdims=True) if len(z) else z[:, :1]
    return (own - (top[:, 0] + np.log(np.exp(z - top).sum(axis=1)))).astype(np.float32)
