"""What a model is asked about a record: the record itself and seeded variations of it. Engine, imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.attacks.base import scaled_logits
from core.data import Dataset
from core.data.to_tensors import augment, shift_of, tensors
from core.training.device import device
from core.training.loop import predict

CHECKPOINTS = 4
"""Epochs of a run at which losses are noted, the last one included."""
NOISE = 0.02
"""Share of features of a table row that a variation replaces by those of another row of the same set."""


@dataclass(frozen=True)
class Answers:
    """Outputs of one model on N records, Q queries each."""

    logits: np.ndarray
    """[N, K] float32 of the records themselves."""
    phi: np.ndarray
    """[N, Q] float32 scaled logits; column 0 is the record itself."""
    labels: np.ndarray
    """[N, Q] int64 predicted classes."""


def ask(model: nn.Module, dataset: Dataset, positions: np.ndarray, queries: int = 1) -> Answers:
    """Ask a model about records and their variations.

    Query 0 is the record; the others are shifted and mirrored images, or table rows with a few features replaced.
    They depend on the query's number only, so that target and references are asked the same.
    """
    x, y = tensors(dataset, positions, device())
    outputs = [predict(model, x if q == 0 else vary(x, q)).cpu().numpy() for q in range(queries)]
    labels = y.cpu().numpy()
    return Answers(
        outputs[0],
        np.stack([scaled_logits(logits=z, labels=labels) for z in outputs], axis=1),
        np.stack([z.argmax(1) for z in outputs], axis=1),
    )


def vary(x: torch.Tensor, query: int) -> torch.Tensor:
    """Variation number `query` of every record of x [N, …]."""
    # drawn on the CPU: the streams of devices differ, and target and references may be asked on different ones
    generator = torch.Generator("cpu").manual_seed(query)
    if x.ndim == 4:
        return augment(x, generator, pad=shift_of(x))
    other = x[torch.randperm(len(x), generator=generator).to(x.device)]
    return torch.where((torch.rand(x.shape, generator=generator) < NOISE).to(x.device), other, x)


class Trajectory:
    """Losses of one training run at a few evenly spaced epochs: `of(model)` is the run's on_epoch.

    It looks at the model itself, as an auditor with the checkpoints does, whatever is released in the end.
    """

    def __init__(self, dataset: Dataset, epochs: int) -> None:
        """epochs: how many the run has."""
        self.epochs = checkpoints(epochs)
        self._dataset = dataset
        self._losses: list[tuple[np.ndarray, np.ndarray]] = []

    def of(self, model: nn.Module) -> Callable[[int, list[dict]], None]:
        """Notes the losses of `model`, which is being trained, where an epoch is one of `epochs`."""
        parts = self._dataset.audited, self._dataset.splits["population"]

        def note(epoch: int, rows: list[dict]) -> None:
            if epoch in self.epochs:
                phi = (ask(model, self._dataset, part).phi[:, 0].astype(np.float64) for part in parts)
                audited, population = (np.logaddexp(0.0, -p).astype(np.float32) for p in phi)
                self._losses.append((audited, population))

        return note

    def arrays(self) -> dict[str, np.ndarray]:
        """trajectory [N, T] and population_trajectory [P, T] float32, in nats; empty where no epoch was trained."""
        if not self._losses:
            return {}
        audited, population = (np.stack(part, axis=1) for part in zip(*self._losses, strict=True))
        return {"trajectory": audited, "population_trajectory": population}


def checkpoints(epochs: int) -> list[int]:
    """The epochs, from 1, at which losses are noted: evenly spaced, the last one included, fewer in shorter runs."""
    return sorted({max(1, round(epochs * part / CHECKPOINTS)) for part in range(1, CHECKPOINTS + 1)})
