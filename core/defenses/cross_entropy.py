"""Plain cross-entropy: no defence."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from core.defenses.base import Objective, Step

if TYPE_CHECKING:
    import torch


class CrossEntropy(Objective):
    """Cross-entropy: the plain training objective, without any defence."""

    title: ClassVar[str] = "Cross-entropy (no defence)"
    kind: Literal["ce"] = "ce"

    def loss(self, step: Step) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        return cross_entropy(step.logits.float(), step.y)
