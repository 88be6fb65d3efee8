"""Attack-R: the record's own p-value over reference models."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from core.attacks.base import Attack, Signals
from core.attacks.references import first_query, masked_mean, problem_with_references


class AttackR(Attack):
    """How unusual is this loss for models that never saw the record? Score: the share of them with a higher loss.

    One p-value per record, from its OUT reference models alone (Ye 2022, attack R); equal losses count half. With M
    references a record has about M/2 of them, so there are only so many distinct scores: with few references it says
    nothing at low false positive rates. LiRA offline fits a Gaussian to get past that."""

    kind: Literal["attack_r"] = "attack_r"
    title: ClassVar[str] = "Attack-R"
    needs: ClassVar[frozenset[str]] = frozenset({"reference_phi", "reference_in"})

    def is_compatible(self, signals: Signals) -> str | None:
        return problem_with_references(signals, title=self.title, inside=0, outside=1)

    def __call__(self, signals: Signals) -> np.ndarray:
        target, references = first_query(signals)
        # the loss falls with φ, so a higher loss is a lower φ; φ does not round to ties as the loss does
        beaten = (references < target) + 0.5 * (references == target)
        return masked_mean(values=beaten, mask=~np.asarray(signals.reference_in, bool))
