"""Config of the two scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from core.config import Config

if TYPE_CHECKING:
    from core.training.recipe import TrainConfig


class ImportanceConfig(Config):
    """How privacy vulnerability is estimated (PVE; Fang and Kim, ICLR 2026)."""

    lam: float = Field(0.5, ge=0, le=1)
    """λ: weight of keeping reference records at their initial predictions; 1 − λ goes to learning the members."""
    kl: Literal["initial||trained", "trained||initial"] = "initial||trained"
    """Direction of the KL term. The paper leaves it open; the default is KL(initial ‖ trained)."""
    epochs: int | None = Field(None, ge=1, le=10_000)
    """Epochs of the two scoring runs; empty: as many as the training recipe."""

    def recipe(self, training: TrainConfig) -> TrainConfig:
        """The training recipe with the epochs of the scoring runs."""
        return training.model_copy(update={"epochs": self.epochs or training.epochs})
