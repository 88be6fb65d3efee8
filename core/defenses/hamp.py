"""HAMP (Chen and Pattabiraman, NDSS 2024): soft labels, rewarded entropy, and outputs that only keep their order."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from core.config import BadInput
from core.defenses.base import Objective, Step

if TYPE_CHECKING:
    import torch
    from torch import nn

HIGHEST_GAMMA = 0.9999
"""With two classes, the hardest case, the label's class then leads by about 1 %; at 1 all classes are equal."""


class HAMP(Objective):
    """HAMP: soft labels of high entropy, a reward for uncertain outputs, and on request replaced outputs at test time.

    Loss: KL(soft label ‖ p) − K·α·H(p), mean over the batch, K classes, p the model's output, H in nats. The soft
    label keeps p_top on the true class and shares the rest evenly; p_top is the highest with entropy ≥ γ·log K. The
    authors' code averages the KL term over the classes too, so this loss is K times theirs: α is theirs, the factor
    K restores its weight, and their learning rate is to be divided by K. Values below zero are normal.

    At test time HAMP answers with the sorted logits of a random input, in the order of the record's own: labels and
    accuracy stay, confidence becomes meaningless. Judge it by label-only and adaptive attacks too.
    """

    title: ClassVar[str] = "HAMP"
    afterwards: ClassVar[tuple[str, ...]] = ("test_time", "key")
    kind: Literal["hamp"] = "hamp"
    gamma: float = Field(0.95, ge=0, le=1)
    """Least entropy γ of the soft labels as a share of log K, at most 0.9999; 0 keeps hard labels. Authors: CIFAR-10
    0.95, CIFAR-100 0.5, Purchase 0.8, Texas 0.6, Location 0.5."""
    entropy_weight: float = Field(0.001, ge=0, le=10)
    """Weight α of the outputs' entropy, before the factor K. Authors: CIFAR-10 and Location 0.001, CIFAR-100 0.005,
    Purchase and Texas 0.01."""
    test_time: bool = False
    """Replace the outputs at test time, in what accuracy and black-box attacks see. The authors do."""
    key: str = Field("rewindlab", min_length=1, max_length=200)
    """Secret that decides, with the record asked about, which random input answers at test time: the same question
    always gets the same answer. Whoever knows it knows that input, but not the outputs that were replaced."""

    @field_validator("gamma")
    @classmethod
    def _reachable(cls, gamma: float) -> float:
        if gamma > HIGHEST_GAMMA:
            raise ValueError(_unreachable(gamma))
        return gamma

    def loss(self, step: Step) -> torch.Tensor:
        """Raises BadInput where the data have a single class."""
        import torch
        import torch.nn.functional as F

        log_p_BK = F.log_softmax(step.logits.float(), 1)
        classes = log_p_BK.shape[1]
        top = top_probability(gamma=self.gamma, classes=classes)
        soft_BK = torch.full_like(log_p_BK, (1 - top) / (classes - 1)).scatter(1, step.y[:, None], top)
        divergence = F.kl_div(log_p_BK, soft_BK, reduction="batchmean")
        entropy = -(log_p_BK.exp() * log_p_BK).sum(1).mean()
        return divergence - classes * self.entropy_weight * entropy

    @property
    def released(self) -> dict[str, Any]:
        """The key, where outputs are replaced."""
        return {"kind": self.kind, "key": self.key} if self.test_time else {}

    def release(self, model: nn.Module) -> nn.Module:
        """With `test_time`, the model with its outputs replaced; its weights are shared, not copied."""
        if not self.test_time:
            return model
        from core.defenses.hamp_output import RandomisedOutput

        return RandomisedOutput(model, self.key)


@cache
def top_probability(*, gamma: float, classes: int) -> float:
    """The highest probability of the true class whose soft label has an entropy of at least γ·log K, by bisection.

    The other K − 1 classes share the rest evenly. Raises BadInput with fewer than 2 classes or γ out of reach.
    """
    if classes < 2:
        raise BadInput(f"HAMP's soft labels need at least 2 classes, the data have {classes}: use another objective")
    if not 0 <= gamma <= HIGHEST_GAMMA:
        raise BadInput(_unreachable(gamma))
    least = gamma * math.log(classes)
    low, high = 1 / classes, 1.0  # the entropy falls from log K to 0 between them
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if label_entropy(top=middle, classes=classes) >= least else (low, middle)
    return 1.0 if gamma == 0 else low


def label_entropy(*, top: float, classes: int) -> float:
    """Entropy in nats of a soft label with `top` < 1 on one of the classes and the rest shared evenly."""
    return -top * math.log(top) - (1 - top) * math.log((1 - top) / (classes - 1))


def _unreachable(gamma: float) -> str:
    return (
        f"no soft label that still names its class has an entropy of {gamma:g}·log K: "
        f"set gamma between 0 and {HIGHEST_GAMMA:g}"
    )
