"""What an objective is: a frozen config that, once started on a model, maps a step to a scalar loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from core.config import Config

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Setting:
    """What an objective may look at before the first step."""

    model: nn.Module
    """The model at its starting weights; copy it to keep them."""
    reference: tuple[torch.Tensor, torch.Tensor] | None
    """x, y of the reference set: non-members that no audit uses."""
    generator: torch.Generator
    """Randomness of this run, on the CPU."""


@dataclass(frozen=True)
class Step:
    """One step of training. B records, K classes."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    """[B] int64."""
    logits: torch.Tensor
    """[B, K], model(x) in training mode."""
    epoch: int
    """From 0."""


Loss = Callable[[Step], "torch.Tensor"]


class Objective(Config):
    """Base of all objectives."""

    title: ClassVar[str] = ""
    kind: str

    def start(self, setting: Setting) -> Loss:
        """The loss function of one training run. Stateless objectives return `self.loss`."""
        del setting
        return self.loss

    def loss(self, step: Step) -> torch.Tensor:
        """Scalar loss of one step."""
        raise NotImplementedError
