"""From a dataset to tensors on the device, once; and augmentation as a function of tensors. Engine only (torch)."""

from __future__ import annotations

import numpy as np
import torch

from core.data.dataset import Dataset


def tensors(
    dataset: Dataset, split: str | np.ndarray, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x float32 [n, …] normalised, y int64 [n]) of a split, or of positions, on the device."""
    positions = dataset.splits[split] if isinstance(split, str) else split
    x = torch.from_numpy(dataset.x[positions]).to(device)  # moved as bytes, widened there
    y = torch.from_numpy(dataset.y[positions]).to(device)
    each = (1, -1, 1, 1) if dataset.kind == "image" else (1, -1)
    mean = torch.from_numpy(dataset.mean).to(device).view(each)
    std = torch.from_numpy(dataset.std).to(device).view(each)
    scale = 255 if dataset.kind == "image" else 1
    return x.float().div_(scale).sub_(mean).div_(std), y


def augment(x: torch.Tensor, generator: torch.Generator, *, pad: int = 4) -> torch.Tensor:
    """Each image of x [n, C, H, W] shifted by up to `pad` pixels and mirrored with probability ½, on its own.

    The same as reflecting `pad` pixels at every border, cropping at random and flipping, but as one gather.
    Drawn on the generator's device, which may be another than x's. ValueError for tables and for images not larger than
    the padding.
    """
    if x.ndim != 4:
        raise ValueError(f"augmentation shifts and mirrors images; these records have shape {tuple(x.shape[1:])}")
    n, channels, height, width = x.shape
    if pad >= min(height, width):
        raise ValueError(f"images of {height}×{width} are too small to be shifted by {pad} pixels")
    down = _shifted(n, height, pad, x.device, generator)
    across = _shifted(n, width, pad, x.device, generator)
    mirrored = (torch.rand((n, 1), device=generator.device, generator=generator) < 0.5).to(x.device)
    across = torch.where(mirrored, across.flip(1), across)
    example = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    return x[example, channel, down[:, None, :, None], across[:, None, None, :]]


def shift_of(x: torch.Tensor) -> int:
    """By how many pixels images [n, C, H, W] are shifted: an eighth of their side, 4 for 32×32 as is usual."""
    return max(1, min(x.shape[-2:]) // 8)


def _shifted(n: int, side: int, pad: int, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """[n, side] source coordinates of a random shift by −pad…pad per example, reflected at the borders."""
    offset = torch.randint(-pad, pad + 1, (n, 1), device=generator.device, generator=generator).to(device)
    place = torch.arange(side, device=device)[None] + offset
    return (side - 1) - ((side - 1) - place.abs()).abs()
