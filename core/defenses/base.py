"""What an objective is: a frozen config that, once started on a model, maps a step to a scalar loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from core.config import BadInput, Config

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
    members: tuple[torch.Tensor, torch.Tensor] | None = None
    """x, y of the records this run trains on."""
    anchor: nn.Module | None = None
    """A model at the initial weights, where the run starts elsewhere; None: the starting weights are the initial."""
    train: Callable[[nn.Module], None] | None = None
    """Trains another model plainly (cross-entropy) on the same members with the same recipe: a teacher, say."""

    def non_members(self, who: str) -> tuple[torch.Tensor, torch.Tensor]:
        """x, y of the reference set that `who` needs; BadInput where there are fewer than 2 records."""
        if self.reference is None or len(self.reference[1]) < 2:
            raise BadInput(f"{who} needs a reference set of at least 2 records: raise data.reference")
        return self.reference


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


@dataclass(frozen=True)
class Use:
    """A training that an objective is to be used in, as far as it is known before anything runs."""

    model: Config
    """Architecture."""
    epochs: int
    """That are trained, early stopping counted; at least 1."""
    batch_size: int
    members: int
    brought: bool = False
    """Whether somebody brings the weights, so that the architecture is what it is."""


class Objective(Config):
    """Base of all objectives."""

    title: ClassVar[str] = ""
    work: ClassVar[float] = 1.0
    """Time of a training step in units of one with cross-entropy, roughly; estimates of cost use it."""
    afterwards: ClassVar[tuple[str, ...]] = ()
    """Fields that only change what is released: the training does not depend on them."""
    kind: str

    def check(self, use: Use) -> str | None:
        """None where this objective can do its work in such a training, else why not and what to do."""
        return None

    def start(self, setting: Setting) -> Loss:
        """The loss function of one training run. Stateless objectives return `self.loss`."""
        del setting
        return self.loss

    def loss(self, step: Step) -> torch.Tensor:
        """Scalar loss of one step."""
        raise NotImplementedError

    @property
    def released(self) -> dict[str, Any]:
        """What `release` depends on, JSON-able; empty where the model is released as it is."""
        return {}

    def release(self, model: nn.Module) -> nn.Module:
        """The model as others may query it, in evaluation mode: what accuracy and black-box attacks see.

        Most objectives change nothing at test time and return `model` itself.
        """
        return model
