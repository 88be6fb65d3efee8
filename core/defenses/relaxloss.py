"""RelaxLoss (Chen, Yu and Fritz, ICLR 2022): hold the training loss at a target so that members do not stand out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.config import BadInput
from core.defenses.base import Loss, Objective, Setting, Step

if TYPE_CHECKING:
    import torch


class RelaxLoss(Objective):
    """RelaxLoss: holds the training loss at a target α, by gradient ascent and by flattening the wrong classes.

    Batch cross-entropy L. On even epochs the loss is |L − α|. On odd epochs it is L while L > α, and else a
    flattening step. `official` follows the authors' code: the mean over the batch of
    (1 − correct)·softCE(z, q) − l, epochs counted from 0. `flatten-all` uses softCE on every record, has no −l
    term, and counts epochs from 1. q keeps min(p_y, upper) on the label and shares the rest evenly; gradients
    flow through q in both.
    """

    title: ClassVar[str] = "RelaxLoss"
    kind: Literal["relaxloss"] = "relaxloss"
    alpha: float = Field(0.5, ge=0, le=20)
    """Target loss α in nats. Authors: CIFAR-10 0.4 to 1.0, CIFAR-100 0.5 to 3.0, Purchase 0.8."""
    upper: float = Field(1.0, gt=0, le=1)
    """Highest probability a flattened label keeps. Authors: 1 for images, 0.3 for Purchase, 0.1 for Texas."""
    variant: Literal["official", "flatten-all"] = "official"
    """The authors' code, or the variant probably used in the CWRF line of papers."""

    def start(self, setting: Setting) -> Loss:
        """Raises BadInput for an α that no model worth training has."""
        from core.training.loop import predict

        assert setting.members is not None
        reachable(alpha=self.alpha, classes=predict(setting.model, setting.members[0][:1]).shape[1])
        return self.loss

    def loss(self, step: Step) -> torch.Tensor:
        import torch
        import torch.nn.functional as F

        z = step.logits.float()
        l_B = F.cross_entropy(z, step.y, reduction="none")
        loss = l_B.mean()
        official = self.variant == "official"
        epoch = step.epoch if official else step.epoch + 1
        if epoch % 2 == 0:
            return (loss - self.alpha).abs()
        if loss > self.alpha:
            return loss
        q_BK = flattened(z=z, y=step.y, upper=self.upper)
        soft_B = -(q_BK * F.log_softmax(z, 1)).sum(1)
        if not official:
            return soft_B.mean()
        wrong = (z.argmax(1) != step.y).to(z.dtype)
        return torch.mean(wrong * soft_B - l_B)


def reachable(*, alpha: float, classes: int) -> None:
    """Raises BadInput where the target α (nats) is above log K, the loss of a model that only guesses.

    A single class, where that is 0, is refused by `flattened`.
    """
    if classes > 1 and alpha > math.log(classes):
        raise BadInput(
            f"alpha {alpha:g} is above log K = {math.log(classes):.3g}, the loss of a model that only guesses among "
            f"the K = {classes} classes of these data: lower alpha"
        )


def flattened(*, z: torch.Tensor, y: torch.Tensor, upper: float) -> torch.Tensor:
    """Soft labels q [B, K] of logits z [B, K]: min(p_y, upper) on the label y [B], the rest shared evenly.

    Not detached: gradients flow through them. Raises BadInput where the data have a single class.
    """
    import torch.nn.functional as F

    classes = z.shape[1]
    if classes < 2:
        raise BadInput(f"flattening outputs needs at least 2 classes, the data have {classes}: use another objective")
    own = F.one_hot(y, classes).to(z.dtype)
    p_y = z.softmax(1).gather(1, y[:, None]).clamp(max=upper)
    return own * p_y + (1 - own) * (1 - p_y) / (classes - 1)
