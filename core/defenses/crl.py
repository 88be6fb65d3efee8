"""CRL (Fang and Kim, UAI 2024): relaxed losses on shrunk logits and on the distance of features to class centres."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.config import BadInput
from core.defenses.base import Loss, Objective, Setting, Step
from core.defenses.relaxloss import flattened, reachable

if TYPE_CHECKING:
    import torch
    from torch import nn


class CRL(Objective):
    """Centre-based relaxed learning: a relaxed loss on the logits and one on the features, around class centres.

    With N_t(v) = v / (1 + t·‖v‖), which keeps the direction of v and its length below 1/t, the loss is a relaxed
    cross-entropy of N_t(logits) plus λ times a relaxed centre loss d, half the mean squared distance of N_tc(features)
    to N_tc(centre of the label). Features are what the last linear layer sees. Relaxed means, with target α and epochs
    counted from 1: on even epochs |loss − α|; on odd ones the loss itself while above α, else a flattening step. That
    is RelaxLoss' `flatten-all` with soft labels from the plain logits; for d it pulls a record with the weight of its
    label's probability (at most `upper`) to the centre and with the rest to the origin. The centres start standard
    normal and learn by SGD at a constant rate. The authors' code is public, its settings are not: defaults are ours.
    """

    title: ClassVar[str] = "Centre-based relaxed learning (CRL)"
    kind: Literal["crl"] = "crl"
    alpha: float = Field(0.5, ge=0, le=20)
    """Target α of the cross-entropy of the shrunk logits, in nats."""
    upper: float = Field(1.0, gt=0, le=1)
    """Highest probability a flattened label keeps, in both parts."""
    t: float = Field(0.05, ge=0, le=10)
    """t, shrinks the logits to lengths below 1/t; 0 leaves them. A large t keeps the loss from ever reaching α."""
    lam: float = Field(0.1, ge=0, le=100)
    """Weight λ of the centre loss; 0 leaves it out."""
    centre_alpha: float = Field(0.1, ge=0, le=100)
    """Target α of the centre loss (half a squared distance)."""
    centre_t: float = Field(1.0, ge=0, le=10)
    """t of the features and centres: at 1 both lie inside the unit ball."""
    centre_lr: float = Field(0.5, gt=0, le=100)
    """Constant learning rate of the centres."""

    def start(self, setting: Setting) -> Loss:
        """Watch what enters the model's last linear layer, for as long as the loss lives. BadInput without one, and
        for a target α out of reach."""
        import torch

        head = last_linear(setting.model)
        reachable(alpha=self.alpha, classes=head.out_features)
        entered: list[torch.Tensor] = []

        def remember(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            entered[:] = inputs[:1]

        watching = head.register_forward_pre_hook(remember)
        drawn = torch.randn((head.out_features, head.in_features), generator=setting.generator)
        centres = drawn.to(head.weight.device).requires_grad_()
        optimizer = torch.optim.SGD([centres], self.centre_lr)

        def loss(step: Step) -> torch.Tensor:
            # by now the gradient of the step before is there
            optimizer.step()
            optimizer.zero_grad()
            value = self.relaxed_cross_entropy(step.logits.float(), step.y, step.epoch)
            if self.lam == 0:
                return value
            features = entered[0].flatten(1).float()
            return value + self.lam * self.relaxed_distance(
                features, centres[step.y], step.logits.float(), step.y, step.epoch
            )

        # a later run of the model must not be watched by this one
        weakref.finalize(loss, watching.remove)
        return loss

    def relaxed_cross_entropy(self, z: torch.Tensor, y: torch.Tensor, epoch: int) -> torch.Tensor:
        """Of logits z [B, K], labels y [B], in the epoch counted from 0."""
        import torch.nn.functional as F

        short_BK = shrunk(z, self.t)
        plain = F.cross_entropy(short_BK, y)
        if epoch % 2 == 1:
            return (plain - self.alpha).abs()
        if plain > self.alpha:
            return plain
        return -(flattened(z=z, y=y, upper=self.upper) * F.log_softmax(short_BK, 1)).sum(1).mean()

    def relaxed_distance(
        self, features: torch.Tensor, centres: torch.Tensor, z: torch.Tensor, y: torch.Tensor, epoch: int
    ) -> torch.Tensor:
        """Of features [B, D] to the centres [B, D] of their labels; logits z [B, K], labels y [B], epoch from 0."""
        short_BD = shrunk(features, self.centre_t)
        distance_B = (short_BD - shrunk(centres, self.centre_t)).square().sum(1) / 2
        plain = distance_B.mean()
        if epoch % 2 == 1:
            return (plain - self.centre_alpha).abs()
        if plain > self.centre_alpha:
            return plain
        p_B = z.softmax(1).gather(1, y[:, None]).squeeze(1).clamp(max=self.upper)
        return (p_B * distance_B + (1 - p_B) * short_BD.square().sum(1) / 2).mean()


def shrunk(v: torch.Tensor, t: float) -> torch.Tensor:
    """N_t: v [B, D] divided by 1 + t times its length, row by row."""
    return v / (1 + t * v.norm(dim=1, keepdim=True))


def last_linear(model: nn.Module) -> nn.Linear:
    """The layer that turns features into logits: the last linear one. BadInput where the model has none."""
    from torch import nn

    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not found:
        raise BadInput("CRL needs a model that ends in a linear layer: use another architecture or objective")
    return found[-1]
