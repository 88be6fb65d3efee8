"""White-box attack on the size of the gradient."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from core.attacks.base import Attack, Signals


class GradientNormAttack(Attack):
    """A record the model was trained on pulls little at its weights: its loss gradient is short.

    Score −‖∇_θ l‖ over all weights (Nasr 2019; Rezaei & Liu 2021). The attacker must hold the weights (white box).
    It is close to the loss attack, for the gradient shrinks with the loss, but it also sees how the record sits in
    the layers below the output."""

    kind: Literal["gradient_norm"] = "gradient_norm"
    title: ClassVar[str] = "Gradient norm, white box"
    needs: ClassVar[frozenset[str]] = frozenset({"gradient_norms"})

    def __call__(self, signals: Signals) -> np.ndarray:
        return -np.asarray(signals.gradient_norms, np.float64)
