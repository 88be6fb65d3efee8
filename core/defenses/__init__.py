"""Training objectives, one file each, usable from scratch and for fine-tuning after a rewind."""

from typing import Annotated

from pydantic import Field

from core.defenses.base import Objective as ObjectiveBase
from core.defenses.base import Setting, Step
from core.defenses.cross_entropy import CrossEntropy
from core.defenses.relaxloss import RelaxLoss

Objective = Annotated[CrossEntropy | RelaxLoss, Field(discriminator="kind")]

__all__ = ["CrossEntropy", "Objective", "ObjectiveBase", "RelaxLoss", "Setting", "Step"]
