"""PAST, privacy-aware sparsity tuning (Hu, Zhang and Wei 2024, arXiv 2410.06814): shrink the weights that leak."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.defenses.base import Loss, Objective, Setting, Step, Use

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH = 256
"""Records per pass while γ is measured; it bounds the memory and does not change γ."""


class PAST(Objective):
    """PAST: cross-entropy with an L1 penalty that is strongest on the weights that widen the loss gap.

    Mean cross-entropy + λ·Σ γ_i·|θ_i| over all weights. γ_i is how much the gap G between the mean loss of the
    reference set and that of the members moves with the weight, relative to its module: 1 on average in each layer.
    γ is measured at the start of every epoch and constant in between. The authors penalise only after normal
    training: use it for fine-tuning, or set plain epochs.
    """

    title: ClassVar[str] = "Privacy-aware sparsity tuning (PAST)"
    work: ClassVar[float] = 3.0
    kind: Literal["past"] = "past"
    lam: float = Field(0.01, ge=0, le=1)
    """Weight λ of the penalty; 0 is cross-entropy. The default is ours, the authors' values are not public."""
    plain_epochs: int = Field(0, ge=0, le=10_000)
    """Epochs of cross-entropy alone before the penalty starts. The authors tune 20 to 50 epochs after training."""

    def check(self, use: Use) -> str | None:
        """Refuses a training that ends before the penalty starts."""
        if self.plain_epochs < use.epochs:
            return None
        return (
            f"plain_epochs {self.plain_epochs} leaves none of {use.epochs} epochs to the penalty of PAST: "
            "set fewer plain epochs, or train for more"
        )

    def start(self, setting: Setting) -> Loss:
        """Raises BadInput without a reference set."""
        import torch
        import torch.nn.functional as F

        reference, members = setting.non_members("PAST"), setting.members
        assert members is not None
        weights: dict[str, torch.Tensor] = {}
        measured_in = -1

        def loss(step: Step) -> torch.Tensor:
            nonlocal weights, measured_in
            fit = F.cross_entropy(step.logits.float(), step.y)
            if step.epoch < self.plain_epochs:
                return fit
            if step.epoch != measured_in:
                weights, measured_in = gamma(step.model, members, reference), step.epoch
            parameters = dict(step.model.named_parameters())
            return fit + self.lam * torch.stack([(g * parameters[n].abs()).sum() for n, g in weights.items()]).sum()

        return loss


def gamma(
    model: nn.Module,
    members: tuple[torch.Tensor, torch.Tensor],
    reference: tuple[torch.Tensor, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """γ of every trainable weight: parameter name → float32 of its shape, without gradients, on the model's device.

    γ_i = |M|·|∂G/∂θ_i| / Σ_{j∈M} |∂G/∂θ_j| with G = |mean loss of the reference set − mean loss of the members|,
    cross-entropy on x [N, …], y [N]. M are all weights that the same module owns: weight and bias of a layer
    together, so γ averages 1 there; where a whole module has no gradient, γ is 0. Evaluation mode and float32: batch
    norm then treats records one by one, so that γ does not depend on batches, and its statistics stay as they are.
    """
    import torch

    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    mode = model.training
    model.eval()
    with torch.enable_grad(), torch.autocast(reference[0].device.type, enabled=False):
        inside, outside = (_mean_loss_gradient(model, list(named.values()), *part) for part in (members, reference))
    model.train(mode)
    # the sign of the gap falls out of |∂G/∂θ|
    gap = {name: (o - i).abs() for name, i, o in zip(named, inside, outside, strict=True)}
    modules: dict[str, list[str]] = {}
    for name in named:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    for names in modules.values():
        count = sum(gap[name].numel() for name in names)
        total = torch.stack([gap[name].sum() for name in names]).sum()
        # 0 / tiny is 0 where nothing has a gradient
        gap |= {name: gap[name] / total.clamp_min(torch.finfo(total.dtype).tiny) * count for name in names}
    return gap


def _mean_loss_gradient(
    model: nn.Module, weights: list[nn.Parameter], x: torch.Tensor, y: torch.Tensor
) -> list[torch.Tensor]:
    """Gradient of the mean cross-entropy of all records with respect to each of the weights, batch by batch."""
    import torch
    import torch.nn.functional as F

    from core.training.device import fast_layout

    sums = [torch.zeros_like(w) for w in weights]
    for start in range(0, len(y), BATCH):
        rows = slice(start, start + BATCH)
        loss = F.cross_entropy(model(fast_layout(x[rows])).float(), y[rows], reduction="sum") / len(y)
        torch._foreach_add_(sums, torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))
    return sums
