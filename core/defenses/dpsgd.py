"""DP-SGD (Abadi et al., CCS 2016): gradients clipped per record and drowned in noise, with a guarantee (ε, δ)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from core.defenses.base import Objective, Step, Use

if TYPE_CHECKING:
    import torch

VACUOUS = 1000
"""Above this ε a guarantee says nothing worth a number."""
LEAST_FOR_PRV = 0.4
"""Below this σ the PRV accountant turns slow, infinite or out of memory; RDP stays fast and is a little looser."""
LEAST = 1e-4
"""The smallest σ besides 0 that the RDP accountant takes."""
MOST = 1000.0
"""The largest σ that is taken or tried."""
MIXES = "DP-SGD clips every record's own gradient, and batch norm mixes the records of a batch"
BATCH_NORM = f"{MIXES}: set model.norm to group"
BROUGHT_BATCH_NORM = f"{MIXES}: the weights you brought were trained with it, choose another objective"


class DPSGD(Objective):
    """DP-SGD: cross-entropy whose gradients are clipped per record, summed, and blurred by Gaussian noise.

    Every step draws each member with probability batch size / members (Poisson sampling), clips each record's
    gradient to norm C and adds noise of standard deviation σ·C to the sum. Give the guarantee wanted (target ε) or
    the noise (σ). The accounts are Opacus'. Needs a model without batch norm (model.norm group). ε covers this
    training run alone: as fine-tuning it starts from weights that have already seen the members, and then bounds
    only what the fine-tuning adds. The noise comes from the run's seed, so whoever knows the seed can take it off.
    """

    title: ClassVar[str] = "DP-SGD"
    work: ClassVar[float] = 4.0
    kind: Literal["dpsgd"] = "dpsgd"
    target_epsilon: float | None = Field(8.0, gt=0, le=1e6)
    """ε to reach at the end of training; the noise follows from it. Empty: σ decides."""
    sigma: float | None = Field(None, ge=0, le=MOST)
    """Noise multiplier σ: standard deviation of the noise in units of C. 0 only clips, without a guarantee. Empty:
    the target ε decides."""
    delta: float | None = Field(None, gt=0, lt=1)
    """δ, the probability with which the guarantee may fail. Empty: 1 / (2 × members); it should stay below
    1 / members."""
    clip: float = Field(1.0, gt=0, le=1e6)
    """Clipping norm C: the longest gradient, over all weights, that one record may contribute."""
    accountant: Literal["auto", "prv", "rdp"] = "auto"
    """How ε is summed up over the steps. PRV is the tightest but fails for little noise; RDP always works. Auto: RDP
    for σ below 0.4 or ε above 1000, else PRV."""
    physical_batch: int = Field(64, ge=1, le=65_536)
    """Records whose gradients are in memory at once, each as large as the model; the result does not depend on it."""

    @model_validator(mode="before")
    @classmethod
    def _sigma_replaces_the_default_target(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("sigma") is not None:
            return {"target_epsilon": None} | value
        return value

    @model_validator(mode="after")
    def _usable(self) -> DPSGD:
        if (self.target_epsilon is None) == (self.sigma is None):
            raise ValueError("DP-SGD takes either target_epsilon or sigma: give one and leave the other empty")
        if self.sigma is not None and 0 < self.sigma < LEAST:
            raise ValueError(
                f"sigma {self.sigma:g} is too little noise for any accountant: "
                f"set 0 (no noise, no guarantee) or at least {LEAST:g}"
            )
        if self.accountant == "prv" and self.sigma is not None and self.sigma < LEAST_FOR_PRV:
            raise ValueError(
                f"sigma {self.sigma:g} is too little noise for the PRV accountant: "
                f"set accountant to auto or rdp, or sigma to at least {LEAST_FOR_PRV:g}"
            )
        return self

    def check(self, use: Use) -> str | None:
        """Refuses architectures with batch norm, batches of more than all members, and a δ that protects nobody."""
        if getattr(use.model, "norm", None) == "batch":
            return BROUGHT_BATCH_NORM if use.brought else BATCH_NORM
        if use.batch_size > use.members:
            return (
                "DP-SGD draws every member with probability batch size / members, "
                f"and train.batch_size {use.batch_size} is more than data.members {use.members}"
            )
        if self.delta is not None and self.delta * use.members >= 1:
            return (
                f"delta {self.delta:g} lets the guarantee fail for a whole record: "
                f"set it below 1 / data.members = {1 / use.members:.2g}, or leave it empty"
            )
        return None

    def loss(self, step: Step) -> torch.Tensor:
        """Mean cross-entropy; clipping and noise happen in the optimiser (core.training.private)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(step.logits.float(), step.y)


def shown(privacy: dict[str, Any]) -> str:
    """The guarantee in words, from what a training run says about it (`Fit.privacy`)."""
    epsilon, sigma = privacy["epsilon"], privacy["sigma"]
    if epsilon is None:
        return f"no guarantee (σ {sigma:.3g})"
    amount = f"ε > {VACUOUS}: vacuous" if epsilon > VACUOUS else f"ε = {epsilon:.3g}"
    return f"{amount}, δ = {privacy['delta']:.1g} (σ {sigma:.3g}, {privacy['accountant'].upper()} accountant)"
