"""Membership inference attacks, one file each: a frozen config whose call maps `Signals` to scores [N].

`ATTACKS` is the registry by name, in the order in which a page shows them.
"""

from core.attacks.base import Attack, Signals, scaled_logits
from core.attacks.evaluate import compare, evaluate
from core.attacks.gradient_norm import GradientNormAttack
from core.attacks.thresholds import (
    ConfidenceAttack,
    CorrectnessAttack,
    EntropyAttack,
    LossAttack,
    ModifiedEntropyAttack,
    TopConfidenceAttack,
)

_ORDER: tuple[type[Attack], ...] = (
    LossAttack,
    ConfidenceAttack,
    ModifiedEntropyAttack,
    EntropyAttack,
    TopConfidenceAttack,
    CorrectnessAttack,
    GradientNormAttack,
)

ATTACKS: dict[str, type[Attack]] = {attack.model_fields["kind"].default: attack for attack in _ORDER}

__all__ = ["ATTACKS", "Attack", "Signals", "compare", "evaluate", "scaled_logits"]
