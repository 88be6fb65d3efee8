"""Rows of a second set of records beside the training batches: every row once per round, in ever new order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def endless_rows(count: int, generator: torch.Generator) -> Callable[[int], torch.Tensor]:
    """A function size → that many row numbers [size] int64, walking through ever new shuffles of all `count` rows."""
    import torch

    queue = torch.empty(0, dtype=torch.int64)

    def take(size: int) -> torch.Tensor:
        nonlocal queue
        while len(queue) < size:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        rows, queue = queue[:size], queue[size:]
        return rows

    return take
