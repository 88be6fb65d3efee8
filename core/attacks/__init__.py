"""Membership inference attacks, one file each: a frozen config whose call maps `Signals` to scores [N].

`ATTACKS` is the registry by name, in the order in which a page shows them.
"""

from core.attacks.attack_p import AttackP
from core.attacks.attack_r import AttackR
from core.attacks.base import Attack, Signals, scaled_logits
from core.attacks.calibration import CalibrationAttack
from core.attacks.design import design_matrix
from core.attacks.elsewhere import reference_logits_asked, shadow_scores
from core.attacks.evaluate import compare, evaluate
from core.attacks.gradient_norm import GradientNormAttack
from core.attacks.label_only import LabelOnlyAttack
from core.attacks.lira import LiraAttack, LiraOfflineAttack
from core.attacks.quantile import QuantileAttack
from core.attacks.rapid import RapidAttack
from core.attacks.rmia import RmiaAttack, RmiaOfflineAttack
from core.attacks.shadow_nn import ShadowNetworkAttack
from core.attacks.thresholds import (
    ConfidenceAttack,
    CorrectnessAttack,
    EntropyAttack,
    LossAttack,
    ModifiedEntropyAttack,
    TopConfidenceAttack,
)
from core.attacks.trajectory import TrajectoryAttack

_ORDER: tuple[type[Attack], ...] = (
    LossAttack,
    ConfidenceAttack,
    ModifiedEntropyAttack,
    EntropyAttack,
    TopConfidenceAttack,
    CorrectnessAttack,
    GradientNormAttack,
    LiraAttack,
    LiraOfflineAttack,
    RmiaAttack,
    RmiaOfflineAttack,
    AttackR,
    AttackP,
    CalibrationAttack,
    RapidAttack,
    ShadowNetworkAttack,
    QuantileAttack,
    LabelOnlyAttack,
    TrajectoryAttack,
)

ATTACKS: dict[str, type[Attack]] = {attack.model_fields["kind"].default: attack for attack in _ORDER}

__all__ = [
    "ATTACKS",
    "Attack",
    "Signals",
    "compare",
    "design_matrix",
    "evaluate",
    "reference_logits_asked",
    "scaled_logits",
    "shadow_scores",
]
