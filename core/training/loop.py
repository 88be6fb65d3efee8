"""The one training loop: plain, with score accumulation, and with frozen weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from core.config import BadInput
from core.data.to_tensors import augment, shift_of
from core.defenses import DPSGD, CrossEntropy, ObjectiveBase, Setting, Step
from core.training.device import autocast, device, fast_layout, keep_memory, low_precision
from core.training.recipe import TrainConfig

WATCHED = 1000
"""Records per split that the per-epoch log is computed on; the last epoch uses all."""

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Fit:
    """What a training run leaves besides the trained model."""

    log: list[dict]
    """One row per epoch and split: epoch, split, loss (nats), accuracy, objective, records."""
    scores: dict[str, torch.Tensor] = field(default_factory=dict)
    """Per parameter Σ over iterations of |g·w| (Taylor first order), float32; empty unless accumulated."""
    privacy: dict | None = None
    """What DP-SGD guarantees, None for other objectives."""


def fit(
    model: nn.Module,
    *,
    members: Batch,
    recipe: TrainConfig,
    seed: int,
    objective: ObjectiveBase | None = None,
    reference: Batch | None = None,
    watch: dict[str, Batch] | None = None,
    frozen: dict[str, torch.Tensor] | None = None,
    accumulate: bool = False,
    anchor: nn.Module | None = None,
    stop_after: int | None = None,
    on_epoch: Callable[[int, list[dict]], None] = lambda epoch, rows: None,
) -> Fit:
    """Train `model` in place on members (x [N, …] float32, y [N] int64), tensors on the model's device.

    frozen: per parameter a bool mask; True entries keep their present value, bit for bit, under momentum and
    weight decay too: their gradient is zeroed and their value put back after every step. Parameters not named
    are free. accumulate: sum |g·w| per weight with the gradient of the objective, before each step. anchor: a model
    at the initial weights, for objectives that look back at them while the run starts elsewhere. stop_after: end
    after so many epochs of the recipe's full schedule.
    on_epoch(epoch from 1, rows of the log) may raise to stop. Raises BadInput when the loss is not finite.
    """
    keep_memory()
    objective = objective or recipe.objective
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.Generator(device()).manual_seed(seed)
    optimizer = _optimizer(model, recipe)
    if len(members[1]) < 2:
        raise BadInput("training needs at least 2 members: raise data.members")
    steps = recipe.steps(len(members[1]))
    epochs = min(recipe.epochs, stop_after or recipe.epochs)
    scheduler = (
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * steps)
        if recipe.schedule == "cosine"
        else None
    )
    freezer = Freezer(model, frozen or {})
    scorer = Scorer(model) if accumulate else None
    dtype = low_precision()
    log: list[dict] = []
    privacy: AbstractContextManager[Any] = nullcontext()
    if isinstance(objective, DPSGD):
        from core.training.private import privately  # Opacus takes seconds to import

        if accumulate:
            raise BadInput("scores are sums over undisturbed gradients: accumulate them with another objective")
        dtype = None  # norms of single records need full precision
        privacy = privately(
            model, optimizer, objective, members, recipe=recipe, steps=epochs * steps, generator=generator
        )
    with torch.random.fork_rng(devices=[device()] if device().type == "cuda" else []), privacy as private:
        if private:
            optimizer = private.optimizer
        torch.manual_seed(seed)
        loss_of = objective.start(
            Setting(
                model,
                reference,
                generator,
                members,
                anchor,
                # a plain run of the same recipe; its own seed, so that this run's randomness stays as it is
                lambda other: _discard(
                    fit(other, members=members, recipe=recipe, seed=seed + 1, objective=CrossEntropy())
                ),
            )
        )
        for epoch in range(epochs):
            model.train()
            total, used = torch.zeros((), device=device()), 0
            for x, y in private.batches(steps) if private else batches(members, recipe.batch_size, generator):
                optimizer.zero_grad(set_to_none=True)
                if len(y):  # DP-SGD may draw nobody: its step is then noise alone
                    x = fast_layout(augment(x, shifts, pad=shift_of(x)) if recipe.augment else x)
                    with autocast(dtype):
                        loss = loss_of(Step(model, x, y, model(x), epoch))
                    loss.backward()
                    total += loss.detach() * len(y)
                    used += len(y)
                if scorer:
                    scorer.add()
                freezer.before_step()
                optimizer.step()
                freezer.after_step()
                if scheduler and (private is None or private.complete):
                    scheduler.step()
            _check(total, epoch, recipe)
            last = epoch == epochs - 1
            rows = [
                {"epoch": epoch + 1, "split": name, **measure(model, part, None if last else WATCHED)}
                for name, part in (watch or {}).items()
            ]
            for row in rows:
                row["objective"] = total.item() / max(used, 1)
            log += rows
            on_epoch(epoch + 1, rows)
    model.eval()
    return Fit(log, scorer.scores() if scorer else {}, private.account() if private else None)


class Scorer:
    """Accumulates |g·w| for every trainable weight, with three fused passes over the weights per step."""

    def __init__(self, model: nn.Module) -> None:
        self.names, self.weights = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
        self.sums = [torch.zeros_like(p, dtype=torch.float32) for p in self.weights]

    def add(self) -> None:
        """Add the present |g·w|; weights without a gradient add nothing."""
        used = [i for i, p in enumerate(self.weights) if p.grad is not None]
        with torch.no_grad():
            products = torch._foreach_mul([self.weights[i].grad for i in used], [self.weights[i] for i in used])
            torch._foreach_abs_(products)
            torch._foreach_add_([self.sums[i] for i in used], products)

    def scores(self) -> dict[str, torch.Tensor]:
        return {name: s.cpu().contiguous() for name, s in zip(self.names, self.sums, strict=True)}


class Freezer:
    """Keeps masked weights at their present value, exactly, whatever the optimiser does."""

    def __init__(self, model: nn.Module, frozen: dict[str, torch.Tensor]) -> None:
        parameters = dict(model.named_parameters())
        self.held = [
            (parameters[name], mask.to(parameters[name].device), parameters[name].detach().clone())
            for name, mask in frozen.items()
            if mask.any()
        ]

    def before_step(self) -> None:
        """Zero the gradients of frozen weights, so that momentum, Adam's moments and DP-SGD's norms never see them."""
        for weight, mask, _ in self.held:
            for gradient in (weight.grad, getattr(weight, "grad_sample", None)):  # grad_sample: one per record
                if gradient is not None:
                    gradient.masked_fill_(mask, 0)

    @torch.no_grad()
    def after_step(self) -> None:
        """Undo what weight decay did to them."""
        for weight, mask, value in self.held:
            weight.copy_(torch.where(mask, value, weight))


def batches(part: Batch, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Shuffled batches; a last batch of a single record is left out, batch norm cannot train on it."""
    x, y = part
    order = torch.randperm(len(y), generator=generator).to(y.device)
    for start in range(0, len(y), size):
        rows = order[start : start + size]
        if len(rows) > 1:
            yield x[rows], y[rows]


@torch.no_grad()
def predict(model: nn.Module, x: torch.Tensor, size: int = 1024) -> torch.Tensor:
    """Logits [N, K] in float32, evaluation mode, never in low precision; the model's mode is put back."""
    mode = model.training
    model.eval()
    out = [model(fast_layout(x[start : start + size])).float() for start in range(0, len(x), size)]
    model.train(mode)
    return torch.cat(out) if out else torch.empty(0, 0, device=x.device)


def measure(model: nn.Module, part: Batch, limit: int | None = None) -> dict:
    """Mean cross-entropy (nats) and accuracy on the first `limit` records (all, if None), in evaluation mode."""
    x, y = part[0][:limit], part[1][:limit]
    if not len(y):
        return {"loss": math.nan, "accuracy": math.nan, "records": 0}
    z = predict(model, x)
    return {
        "loss": nn.functional.cross_entropy(z, y).item(),
        "accuracy": (z.argmax(1) == y).float().mean().item(),
        "records": len(y),
    }


def _optimizer(model: nn.Module, recipe: TrainConfig) -> torch.optim.Optimizer:
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)


def _discard(_: object) -> None:
    """A teacher is trained in place."""


def _check(total: torch.Tensor, epoch: int, recipe: TrainConfig) -> None:
    if not torch.isfinite(total):
        raise BadInput(
            f"training stopped in epoch {epoch + 1}: the loss is not finite. "
            f"Lower the learning rate (now {recipe.lr:g}) or check the data for extreme values."
        )
