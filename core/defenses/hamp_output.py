"""HAMP's second part (Chen and Pattabiraman, NDSS 2024): a model whose outputs keep only the order of the classes."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import nn

from core.training.device import fast_layout

SPREAD = math.sqrt((256**2 - 1) / 12)
"""Standard deviation of a random byte."""


class RandomisedOutput(nn.Module):
    """`model` in evaluation mode with every record's sorted logits replaced by those of a random input.

    The order of the classes, and with it every predicted label, stays; confidence says nothing about the record any
    more. The random input is derived from a keyed hash of the record, so asking again gives the same answer.
    """

    def __init__(self, model: nn.Module, key: str) -> None:
        super().__init__()
        self.model = model
        self.key = hashlib.blake2b(key.encode()).digest()
        self.eval()

    def train(self, mode: bool = True) -> RandomisedOutput:
        """Stays in evaluation mode: answers must not depend on who else is asked about."""
        return super().train(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits [B, K] for records x [B, …] as the model gets them."""
        noise = torch.from_numpy(random_inputs(x.detach().cpu().numpy(), self.key)).to(x)
        return reordered(own=self.model(x), other=self.model(fast_layout(noise)))


def reordered(*, own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The values of `other` [B, K] in the order of `own` [B, K], row by row.

    Classes that tie in `own` are ordered as argmax does, the first one highest. Where the two highest values of `other`
    tie, one is raised by the least step, so that the predicted label is always that of `own`.
    """
    values, ranks = other.sort(dim=1, descending=True).values, own.argsort(dim=1, descending=True, stable=True)
    if values.shape[1] > 1:
        above = torch.nextafter(values[:, 1], torch.full_like(values[:, 1], math.inf))
        values = torch.cat([torch.maximum(values[:, :1], above[:, None]), values[:, 1:]], 1)
    return torch.empty_like(values).scatter(1, ranks, values)


def random_inputs(x: np.ndarray, key: bytes) -> np.ndarray:
    """One random record for each record of x [B, …] float32, decided by its bytes and the key alone.

    Standardised records (images) get uniform entries of mean 0 and standard deviation 1, records within [0, 1] (tables
    that are not standardised) fair coins of 0 and 1: what the authors draw for images and for binary tables.
    """
    out = np.empty(x.shape, np.float32)
    for record, noise in zip(x, out, strict=True):
        # adding 0 makes −0 a 0, which is the same record
        seed = hashlib.blake2b((record + 0.0).tobytes(), key=key, digest_size=32).digest()
        drawn = np.frombuffer(hashlib.shake_256(seed).digest(record.size), np.uint8).reshape(record.shape)
        standardised = record.min() < 0 or record.max() > 1
        noise[:] = (drawn - 127.5) / SPREAD if standardised else drawn >= 128
    return out
