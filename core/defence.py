"""What can be done about memorisation, as one choice: rewind and fine-tune, fine-tune alone, or train anew."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from core.config import Config
from core.defenses import Objective, RelaxLoss
from core.rewinding.config import CWRF, Finetune
from core.training.recipe import TrainConfig


class FineTuning(Config):
    """Fine-tune the trained model with another objective; nothing is rewound. What a rewind is compared with."""

    title: ClassVar[str] = "Fine-tuning alone"
    kind: Literal["fine-tuning"] = "fine-tuning"
    finetune: Finetune = Finetune()
    """How the trained model is tuned."""


class FromScratch(Config):
    """Train a new model from the same initial weights with a protecting objective, or stop its training early."""

    title: ClassVar[str] = "Training from scratch"
    kind: Literal["scratch"] = "scratch"
    objective: Objective = RelaxLoss(variant="flatten-all")
    """What is minimised instead of the recipe's objective."""
    epochs: int | None = Field(None, ge=1, le=10_000)
    """Epochs; empty: as the training recipe."""
    lr: float | None = Field(None, gt=0, le=100)
    """Learning rate; empty: as the training recipe."""
    stop_after: int | None = Field(None, ge=1, le=10_000)
    """Early stopping: end after so many epochs, while the learning rate follows the schedule of all of them."""


Defence = Annotated[CWRF | FineTuning | FromScratch, Field(discriminator="kind")]


def objective_of(defence: CWRF | FineTuning | FromScratch) -> Objective:
    """The objective the defended model is trained with last; it also decides what is released."""
    return defence.objective if isinstance(defence, FromScratch) else defence.finetune.objective


def stop_of(defence: CWRF | FineTuning | FromScratch) -> int | None:
    """The epoch after which its last training is stopped early, None where it runs to its end."""
    return (defence if isinstance(defence, FromScratch) else defence.finetune).stop_after


def recipe_of(recipe: TrainConfig, defence: CWRF | FineTuning | FromScratch) -> TrainConfig:
    """The training recipe with the defence's epochs, objective and (rewound) learning rate."""
    own = defence if isinstance(defence, FromScratch) else defence.finetune
    epochs = recipe.epochs if own.epochs is None else own.epochs
    changes = {"epochs": epochs, "objective": own.objective, "lr": own.lr or recipe.lr}
    return recipe.model_copy(update=changes)


def nothing(defence: CWRF) -> dict[str, Any]:
    """Changes that make it a rewind of no weight at all: the control that starts and is fine-tuned like it."""
    return {"fraction": 1e-12, "layer_fractions": dict.fromkeys(defence.layer_fractions, 0.0)}


def named(defence: CWRF | FineTuning | FromScratch | None) -> str:
    """Short words that tell defences apart: "CWRF + RelaxLoss", "RelaxLoss, fine-tuned", "RelaxLoss from scratch"."""
    if defence is None:
        return "audit only"
    objective = objective_of(defence).title
    stopped = f", {stop_of(defence)} epochs" if stop_of(defence) else ""
    if isinstance(defence, CWRF):
        return f"CWRF + {objective}" + ("" if defence.mode == "A3" else f", {defence.mode}") + stopped
    if isinstance(defence, FineTuning):
        return f"{objective}, fine-tuned{stopped}"
    return f"{objective} from scratch{stopped}"


__all__ = [
    "CWRF",
    "Defence",
    "FineTuning",
    "Finetune",
    "FromScratch",
    "named",
    "nothing",
    "objective_of",
    "recipe_of",
    "stop_of",
]
