"""White-box signal: the norm of each record's loss gradient, per region of the network, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

BUDGET = 2**28
"""Gradient numbers held at once (1 GiB of float32): sets how many records share a pass."""


def region_gradient_norms(
    model: nn.Module,
    *,
    x: torch.Tensor,
    y: torch.Tensor,
    regions: dict[str, list[str]],
    chunk: int | None = None,
    on_chunk: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """‖∂l/∂θ_region‖₂ of every record's cross-entropy, [N, R] float32, in evaluation mode and float32.

    x [N, …], y [N]; regions maps names to parameter names. Per-record gradients of `chunk` records at a time
    (chosen from a fixed memory budget if None). The whole-network norm is the root of the row's sum of squares.
    """
    model.eval()
    weights = {n: p.detach() for n, p in model.named_parameters()}
    buffers = dict(model.named_buffers())
    size = sum(w.numel() for w in weights.values())
    chunk = chunk or max(1, min(128, BUDGET // size))

    def loss(weights: dict, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, (weights, buffers), (x[None],)), y[None])

    per_record = vmap(grad(loss), (None, 0, 0))
    rows = []
    for start in range(0, len(y), chunk):
        # the fused attention kernels have no batching rule, the plain one is faster under vmap
        with sdpa_kernel(SDPBackend.MATH):
            gradients = per_record(weights, x[start : start + chunk], y[start : start + chunk])
        squares = {n: g.flatten(1).square().sum(1) for n, g in gradients.items()}
        rows.append(torch.stack([sum(squares[n] for n in names).sqrt() for names in regions.values()], 1))
        on_chunk(min(start + chunk, len(y)), len(y))
    return torch.cat(rows) if rows else torch.empty(0, len(regions))
