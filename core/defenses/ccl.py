"""CCL (Liu, Feng, Zhuang, Cao and Wei, ICML 2024): a concave term beside cross-entropy spreads members' losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.defenses.base import Objective, Step

if TYPE_CHECKING:
    import torch


class CCL(Objective):
    """Convex-concave loss: cross-entropy with a concave term that keeps members' losses from all sinking to zero.

    Mean over the batch of β·[α·l − (1 − α)·c(p_y)] with the record's cross-entropy l and its label's probability
    p_y = e^−l. c is e^p_y in CCEL and p_y + p_y²/2, the first terms of its series, in CCQL. Values below zero are
    normal; the least possible is −β·(1 − α)·c(1).
    """

    title: ClassVar[str] = "Convex-concave loss (CCL)"
    kind: Literal["ccl"] = "ccl"
    form: Literal["ccel", "ccql"] = "ccel"
    """Concave term: the exponential of the label's probability (CCEL), or a quadratic in it (CCQL)."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Share α of cross-entropy; the concave term gets 1 − α, and 1 is cross-entropy alone. Authors' code: 0.5."""
    beta: float = Field(0.05, gt=0, le=10)
    """Factor β on the whole loss; it scales SGD's learning rate. Authors' code: 0.05, with learning rate 0.1."""

    def loss(self, step: Step) -> torch.Tensor:
        from torch.nn.functional import cross_entropy

        l_B = cross_entropy(step.logits.float(), step.y, reduction="none")
        p_B = l_B.neg().exp()
        concave_B = p_B.exp() if self.form == "ccel" else p_B + p_B.square() / 2
        return self.beta * (self.alpha * l_B - (1 - self.alpha) * concave_B).mean()
