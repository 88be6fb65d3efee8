"""Adversarial regularisation (Nasr, Shokri and Houmansadr, CCS 2018): train against a network that infers members."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.defenses.base import Loss, Objective, Setting, Step, Use
from core.defenses.endless import endless_rows

if TYPE_CHECKING:
    import torch


class AdversarialRegularisation(Objective):
    """Adversarial regularisation: cross-entropy plus what an attack network, trained alongside, gains on members.

    Mean cross-entropy + λ·(mean h − ½), h the attack network's probability that a record of the batch is a member,
    from the model's probabilities and the label. Before each step the network learns, by cross-entropy, to tell
    members from the reference set by the model's outputs in evaluation mode. The first epoch of the model is plain.
    The network has two hidden layers of 128 and 64 units, fewer than the authors'.
    """

    title: ClassVar[str] = "Adversarial regularisation"
    work: ClassVar[float] = 5.0
    kind: Literal["adversarial"] = "adversarial"
    lam: float = Field(1.0, ge=0, le=100)
    """Weight λ of the attack's gain; 0 is cross-entropy. Public code: CIFAR-10 and CIFAR-100 6 or 1, Purchase 3,
    Texas 2."""
    attack_lr: float = Field(1e-3, gt=0, le=1)
    """Learning rate of the attack network (Adam). Public code: 0.001 or 0.0001."""
    attack_steps: int = Field(5, ge=1, le=100)
    """Steps of the attack network before each step of the model; each costs a forward pass over a batch of members
    and one of reference records. Public code: 1 to 52, 5 by default."""

    def check(self, use: Use) -> str | None:
        """Refuses a training that ends with the plain epoch."""
        if use.epochs > 1:
            return None
        return "the first epoch of adversarial regularisation is plain cross-entropy: train for at least 2"

    def start(self, setting: Setting) -> Loss:
        """A new attack network, trained inside the loss. Raises BadInput without a reference set."""
        import torch
        import torch.nn.functional as F
        from torch import nn

        from core.training.loop import predict

        members, reference = setting.members, setting.non_members("adversarial regularisation")
        assert members is not None
        draws = [endless_rows(len(y), setting.generator) for _, y in (members, reference)]
        inputs = 2 * predict(setting.model, reference[0][:1]).shape[1]
        attack = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1)).to(
            reference[0].device
        )
        optimizer = torch.optim.Adam(attack.parameters(), self.attack_lr)

        def learn(model: nn.Module, size: int) -> None:
            """The attack's steps, each on `size` new members and as many reference records."""
            shown = []
            for (x, y), draw in zip((members, reference), draws, strict=True):
                rows = draw(size * self.attack_steps).to(y.device)
                # what a real attacker sees: evaluation mode, where batch norm does not mix members and others
                shown.append(attack_input(predict(model, x[rows]), y[rows]).split(size))
            truth = torch.arange(2 * size, device=reference[0].device).lt(size).float()
            for pair in zip(*shown, strict=True):
                optimizer.zero_grad()
                guess = attack(torch.cat(pair)).squeeze(1).float()
                F.binary_cross_entropy_with_logits(guess, truth).backward()
                optimizer.step()

        def loss(step: Step) -> torch.Tensor:
            learn(step.model, len(step.y))
            z = step.logits.float()
            plain = F.cross_entropy(z, step.y)
            if step.epoch == 0:
                return plain
            return plain + self.lam * (attack(attack_input(z, step.y)).float().sigmoid().mean() - 0.5)

        return loss


def attack_input(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[B, 2K]: the probabilities of logits z [B, K] beside the one-hot labels y [B]."""
    import torch
    import torch.nn.functional as F

    return torch.cat([z.softmax(1), F.one_hot(y, z.shape[1]).to(z.dtype)], 1)
