"""Config of critical weights rewinding and fine-tuning (CWRF; Fang and Kim, ICLR 2026)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.config import Config
from core.defenses import Objective, RelaxLoss

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Finetune(Config):
    """How the remaining weights are trained after the rewind. What is not here is taken from the training recipe."""

    epochs: int = Field(10, ge=0, le=10_000)
    """Epochs of fine-tuning; 0 stops after the rewind."""
    lr: float | None = Field(None, gt=0, le=100)
    """Learning rate; empty: the training recipe's initial one, as in the paper."""
    stop_after: int | None = Field(None, ge=1, le=10_000)
    """Early stopping: end after so many epochs, while the learning rate follows the schedule of all of them."""
    objective: Objective = RelaxLoss(variant="flatten-all")
    """What is minimised while fine-tuning. The default is the variant of RelaxLoss that this line of papers uses."""


MOST_ROUNDS = 5


class CWRF(Config):
    """Rewind the most privacy-vulnerable weights to their initial values, freeze them there, fine-tune the rest."""

    title: ClassVar[str] = "CWRF: rewind and fine-tune"
    kind: Literal["cwrf"] = "cwrf"
    fraction: Fraction = 0.05
    """r: share of the weights in scope that is rewound, the most vulnerable first."""
    selection: Literal["pve", "learnability", "magnitude", "random", "past"] = "pve"
    """What ranks the weights: vulnerability (pve: the paper), or a rival to compare it with: learnability, the weight's
    size, chance, or PAST's γ (how much the member / non-member gap of the loss moves with it)."""
    rewind_to: Literal["initial", "early", "fresh"] = "initial"
    """Where the chosen weights go: their initial values (the paper), the values of an early epoch of the same run, or
    newly drawn random values. If the three do alike, the place of a weight matters and not its value."""
    early_epoch: int = Field(2, ge=1, le=10_000)
    """The early epoch, used only where rewind_to is early."""
    rounds: int = Field(1, ge=1, le=MOST_ROUNDS)
    """2: score the defended model again, rewind another share r of the weights that are still free, fine-tune again.
    Only where vulnerability (pve) ranks the weights."""
    ranking: Literal["global", "per layer", "per type"] = "global"
    """Compare weights across all layers (the paper), or take the share r in every layer, or in every weight type."""
    regions: tuple[str, ...] = ()
    """Only these regions of the network are rewound; empty: all."""
    exclude: tuple[str, ...] = ()
    """Layers (parameter names) or weight types (conv, linear, norm, …) that are never rewound."""
    layer_fractions: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Own share for single layers, outside the ranking: parameter name → share."""
    base: Literal["trained", "pve"] = "pve"
    """Weights that are kept: of the scoring run (pve: the paper; often the more exposed start, see the README) or
    of the trained model (a model you bring)."""
    mode: Literal["A1", "A2", "A3"] = "A3"
    """A3: rewind, freeze, tune the rest (CWRF). A2: rewind, tune only the rewound. A1: set to zero, tune the rest."""
    finetune: Finetune = Finetune()
    """Fine-tuning after the rewind."""
