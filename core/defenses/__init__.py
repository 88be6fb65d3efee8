"""Training objectives, one file each, usable from scratch and for fine-tuning after a rewind."""

from typing import Annotated

from pydantic import Field

from core.defenses.adversarial import AdversarialRegularisation
from core.defenses.base import Objective as ObjectiveBase
from core.defenses.base import Setting, Step, Use
from core.defenses.ccl import CCL
from core.defenses.confidence_penalty import ConfidencePenalty
from core.defenses.crl import CRL
from core.defenses.cross_entropy import CrossEntropy
from core.defenses.distillation import Distillation
from core.defenses.dpsgd import DPSGD
from core.defenses.hamp import HAMP
from core.defenses.label_smoothing import LabelSmoothing
from core.defenses.past import PAST
from core.defenses.relaxloss import RelaxLoss

Objective = Annotated[
    CrossEntropy
    | RelaxLoss
    | HAMP
    | CCL
    | LabelSmoothing
    | ConfidencePenalty
    | PAST
    | CRL
    | AdversarialRegularisation
    | Distillation
    | DPSGD,
    Field(discriminator="kind"),
]

__all__ = [
    "CCL",
    "CRL",
    "DPSGD",
    "HAMP",
    "PAST",
    "AdversarialRegularisation",
    "ConfidencePenalty",
    "CrossEntropy",
    "Distillation",
    "LabelSmoothing",
    "Objective",
    "ObjectiveBase",
    "RelaxLoss",
    "Setting",
    "Step",
    "Use",
]
