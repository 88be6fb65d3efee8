"""Confidence penalty (Pereyra, Tucker, Chorowski, Kaiser and Hinton, ICLR workshop 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.defenses.base import Objective, Step

if TYPE_CHECKING:
    import torch


class ConfidencePenalty(Objective):
    """Confidence penalty: cross-entropy minus a share of the outputs' entropy, so that certainty costs something.

    Mean over the batch of l − a·H(p), with the record's cross-entropy l and the entropy H of the output p, both in
    nats. Values below zero are possible, at least −a·log K with K classes.
    """

    title: ClassVar[str] = "Confidence penalty"
    kind: Literal["confidence_penalty"] = "confidence_penalty"
    penalty: float = Field(0.1, ge=0, le=10)
    """Weight a of the outputs' entropy; 0 is cross-entropy. Usual value: 0.1."""

    def loss(self, step: Step) -> torch.Tensor:
        import torch.nn.functional as F

        log_p_BK = F.log_softmax(step.logits.float(), 1)
        entropy = -(log_p_BK.exp() * log_p_BK).sum(1).mean()
        return F.nll_loss(log_p_BK, step.y) - self.penalty * entropy
