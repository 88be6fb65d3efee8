"""Label smoothing (Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, CVPR 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.defenses.base import Objective, Step

if TYPE_CHECKING:
    import torch


class LabelSmoothing(Objective):
    """Label smoothing: cross-entropy with a little of every label shared evenly over all classes.

    The target is 1 − ε + ε/K on the label and ε/K on each other of the K classes.
    """

    title: ClassVar[str] = "Label smoothing"
    kind: Literal["label_smoothing"] = "label_smoothing"
    smoothing: float = Field(0.1, ge=0, lt=1)
    """Share ε of the label that is spread evenly over all classes; 0 is cross-entropy. Authors: ImageNet 0.1."""

    def loss(self, step: Step) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(step.logits.float(), step.y, label_smoothing=self.smoothing)
