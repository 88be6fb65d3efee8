"""DP-SGD for the training loop: Opacus' per-record gradients, Poisson batches, clipping, noise and the account."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from core.config import BadInput
from core.defenses.dpsgd import BATCH_NORM, DPSGD
from core.training.accounting import epsilon, planned
from core.training.recipe import TrainConfig

Batch = tuple[torch.Tensor, torch.Tensor]


class Optimizer(DPOptimizer):
    """Opacus' optimiser, whose step is noise alone where a batch came out empty."""

    def pre_step(self, closure=None):
        for p in self.params:
            if p.grad_sample is None:
                p.grad_sample = p.new_zeros((0, *p.shape))
        return super().pre_step(closure)


class Private:
    """One DP-SGD run: `batches` to train on, `optimizer` to step with, and `account` of what it cost."""

    def __init__(
        self,
        objective: DPSGD,
        optimizer: torch.optim.Optimizer,
        members: Batch,
        *,
        batch_size: int,
        steps: int,
        generator: torch.Generator,
    ) -> None:
        """steps: of the whole run. generator: draws the batches, on the CPU. Raises BadInput."""
        self.x, self.y = members
        if batch_size > len(self.y):
            raise BadInput(
                f"DP-SGD draws batches of {batch_size} from {len(self.y)} members: "
                f"lower train.batch_size to at most {len(self.y)}"
            )
        self.objective, self.generator, self.steps = objective, generator, 0
        self.rate, self.delta, self.sigma = planned(objective, members=len(self.y), batch_size=batch_size, steps=steps)
        # a stream of its own: on the CPU the same seed would give noise that follows from the batches
        seed = int(torch.randint(2**62, (), generator=generator))
        self.optimizer = Optimizer(
            optimizer,
            noise_multiplier=self.sigma,
            max_grad_norm=objective.clip,
            expected_batch_size=batch_size,
            generator=torch.Generator(self.x.device).manual_seed(seed),
        )
        self.complete = True
        """Whether the batch last given completes a step; physical batches before it only add up."""

    def batches(self, steps: int) -> Iterator[Batch]:
        """The physical batches of so many steps; a step's only one is empty where it drew no member."""
        for _ in range(steps):
            drawn = torch.rand(len(self.y), generator=self.generator) < self.rate
            parts = drawn.nonzero().flatten().to(self.y.device).split(self.objective.physical_batch)
            for i, rows in enumerate(parts, start=1):
                self.complete = i == len(parts)
                self.optimizer.signal_skip_step(not self.complete)
                yield self.x[rows], self.y[rows]
            self.steps += 1

    def account(self) -> dict[str, Any]:
        """epsilon (None where there is no guarantee), delta, sigma, accountant, clip, sampling_rate and steps."""
        spent, accountant = epsilon(
            sigma=self.sigma,
            rate=self.rate,
            steps=self.steps,
            delta=self.delta,
            accountant=self.objective.accountant,
        )
        return {
            "epsilon": spent if math.isfinite(spent) else None,
            "delta": self.delta,
            "sigma": self.sigma,
            "accountant": accountant,
            "clip": self.objective.clip,
            "sampling_rate": self.rate,
            "steps": self.steps,
        }


@contextmanager
def privately(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    objective: DPSGD,
    members: Batch,
    *,
    recipe: TrainConfig,
    steps: int,
    generator: torch.Generator,
) -> Iterator[Private]:
    """A DP-SGD run of so many steps. Inside, backward passes leave one gradient per record in each `grad_sample`
    [B, …]; at the end nothing of that stays on the model. Raises BadInput where it has batch norm."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        raise BadInput(BATCH_NORM)
    hooked = GradSampleModule(model.train())
    try:
        # transformers run as a whole under vmap, which knows attention only in its plain form
        with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
            # inputs need no gradient, and Opacus' hooks do without
            warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
            yield Private(objective, optimizer, members, batch_size=recipe.batch_size, steps=steps, generator=generator)
    finally:
        hooked.to_standard_module()
        for module in model.modules():
            for name in ("activations", "max_batch_len"):
                module.__dict__.pop(name, None)
        for parameter in model.parameters():
            parameter.__dict__.pop("summed_grad", None)
