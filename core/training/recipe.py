"""The training recipe: everything that decides how weights move, apart from data, architecture and seed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.config import Config
from core.defenses import CrossEntropy, Objective


class TrainConfig(Config):
    """How the model is trained. The defaults are the demo's recipe."""

    epochs: int = Field(20, ge=1, le=10_000)
    """Passes over the members."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, or AdamW."""
    lr: float = Field(0.05, gt=0, le=100)
    """Learning rate at the first step."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD; AdamW does not use it."""
    weight_decay: float = Field(5e-4, ge=0, le=10)
    """Weight decay on every weight."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Cosine lowers the learning rate to zero over all epochs."""
    batch_size: int = Field(128, ge=2, le=65_536)
    """Records per step."""
    augment: bool = False
    """Random crops and flips, images only. Off by default, as in the paper's set-up."""
    objective: Objective = CrossEntropy()
    """What is minimised."""

    def steps(self, members: int) -> int:
        """Steps of one epoch over so many members; a last batch of a single record is left out."""
        full, rest = divmod(members, self.batch_size)
        return full + (rest > 1)
