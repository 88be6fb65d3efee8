"""A batch small enough to work out by hand, and the checks that every objective has to pass on it."""

from __future__ import annotations

import numpy as np
import torch

from core.defenses import ObjectiveBase, Step

# Two records of class 0, logits (2, 0, 0) and (0, 1, 0):
# −log p = (.239545, 2.239545, 2.239545) and (1.551445, .551445, 1.551445), mean cross-entropy .895495,
# p = (.786986, .106507, .106507) and (.211942, .576117, .211942),
# H(p) = .786986·.239545 + .213014·2.239545 = .665573 and .576117·.551445 + .423883·1.551445 = .975328.
LOGITS = [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
LABELS = [0, 0]


def loss_of(objective: ObjectiveBase, z: torch.Tensor | None = None, y: torch.Tensor | None = None) -> torch.Tensor:
    """The objective on these logits, without a model."""
    z = torch.tensor(LOGITS) if z is None else z
    y = torch.tensor(LABELS) if y is None else y
    return objective.loss(Step(torch.nn.Identity(), z, y, z, 0))


def some(records: int = 7, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in double precision and labels."""
    generator = torch.Generator().manual_seed(3)
    z = 3 * torch.randn((records, classes), generator=generator, dtype=torch.float64)
    return z, torch.randint(classes, (records,), generator=generator)


def softmax(z: torch.Tensor) -> np.ndarray:
    """Probabilities [B, K] in numpy."""
    e = np.exp(z.detach().numpy() - z.detach().numpy().max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def gradients_fit(objective: ObjectiveBase) -> bool:
    """Autograd against finite differences; coarse, because objectives compute in single precision."""
    z, y = some()
    return torch.autograd.gradcheck(lambda z: loss_of(objective, z, y), z.requires_grad_(), eps=1e-2, atol=1e-3)
