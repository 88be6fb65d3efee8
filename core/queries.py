"""What a model is asked about a record: the record itself and seeded variations of it. Engine, imports torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from core.attacks.base import scaled_logits
from core.data import Dataset
from core.data.to_tensors import augment, shift_of, tensors
from core.training.device import device
from core.training.loop import predict

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
    generator = torch.Generator(x.device).manual_seed(query)
    if x.ndim == 4:
        return augment(x, generator, pad=shift_of(x))
    other = x[torch.randperm(len(x), device=x.device, generator=generator)]
    return torch.where(torch.rand(x.shape, device=x.device, generator=generator) < NOISE, other, x)
