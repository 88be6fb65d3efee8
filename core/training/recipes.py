"""A recipe to start from for each kind of data and model: chosen so that training converges, not tuned further."""

from __future__ import annotations

from core.training.recipe import TrainConfig


def suggested(data: str, model: str) -> TrainConfig:
    """The recipe a form offers for kinds of data ("digits", "table", …) and of model ("mlp", …)."""
    if model == "vit":
        return TrainConfig(epochs=50, optimizer="adamw", lr=1e-3, weight_decay=0.05)
    if model == "mlp":
        return TrainConfig(epochs=30 if data == "table" else 40, lr=0.05)
    if model == "resnet18":
        return TrainConfig(epochs=20 if data == "digits" else 30, lr=0.05 if data == "digits" else 0.1)
    return TrainConfig() if data == "digits" else TrainConfig(epochs=30)
