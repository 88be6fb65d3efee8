"""Difficulty calibration: judge a record's loss against what it costs models that never saw it."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from core.attacks.base import Attack, Signals
from core.attacks.references import first_query, log_likelihood, masked_mean, problem_with_references


class CalibrationAttack(Attack):
    """Some records are easy for every model. Subtract that: score = target's statistic − mean of OUT references'.

    The mean loss of models without the record is its difficulty (Watson 2022). One reference trained without the
    record is enough, which makes this the cheapest attack that can tell *memorised* from *easy*."""

    kind: Literal["calibration"] = "calibration"
    title: ClassVar[str] = "Difficulty calibration"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_phi", "reference_in"})

    statistic: Literal["loss", "scaled_logit"] = "loss"
    """What is compared: the loss as in the paper, or the scaled logit, which spreads very sure records out."""

    def is_compatible(self, signals: Signals) -> str | None:
        return problem_with_references(signals, title=self.title, inside=0, outside=1)

    def __call__(self, signals: Signals) -> np.ndarray:
        target, references = first_query(signals)
        if self.statistic == "loss":
            target, references = log_likelihood(target), log_likelihood(references)
        return target - masked_mean(values=references, mask=~np.asarray(signals.reference_in, bool))
