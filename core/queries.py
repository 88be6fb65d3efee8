"""What a model is asked about a record: the record itself and seeded variations of it. Engine, imports torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from core.attacks.base import scaled_logits
from core.data import Dataset
from core.data.to_tensors import augment, tensors
from core.training.device import device
from core.training.loop import predict

NOISE = 0.02
"""Share of features of a table row that a variation replaces by those of another row of the same set."""


def ask(model: nn.Module, dataset: Dataset, positions: np.ndarray, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """(logits [N, K] of the records themselves, φ [N, Q] of all queries), float32.

    Query 0 is the record; the others are shifted and mirrored images, or table rows with a few features replaced.
    The variations depend on the query's number only, so that target and references are asked the same.
    """
    x, y = tensors(dataset, positions, device())
    labels = y.cpu().numpy()
    own = predict(model, x).cpu().numpy()
    phi = [scaled_logits(logits=own, labels=labels)]
    phi += [
        scaled_logits(logits=predict(model, vary(x, query)).cpu().numpy(), labels=labels) for query in range(1, queries)
    ]
    return own, np.stack(phi, axis=1)


def vary(x: torch.Tensor, query: int) -> torch.Tensor:
    """Variation number `query` of every record of x [N, …]."""
    generator = torch.Generator(x.device).manual_seed(query)
    if x.ndim == 4:
        return augment(x, generator, pad=max(1, x.shape[-1] // 8))
    other = x[torch.randperm(len(x), device=x.device, generator=generator)]
    return torch.where(torch.rand(x.shape, device=x.device, generator=generator) < NOISE, other, x)
