"""Rewinding on tensors: θ_rw = B_f ⊙ θ_base + B_r ⊙ θ_initial, and what stays frozen afterwards."""

from __future__ import annotations

from typing import Literal

import torch

State = dict[str, torch.Tensor]


def rewind(*, base: State, initial: State, masks: dict[str, torch.Tensor], mode: Literal["A1", "A2", "A3"]) -> State:
    """The rewound state: masked weights from `initial` (A2, A3) or zero (A1), everything else from `base`.

    Batch-norm running statistics are not weights, no mask names them: they stay with the base (METHODS §1).
    """
    out = {}
    for name, value in base.items():
        mask = masks.get(name)
        if mask is None:
            out[name] = value.clone()
            continue
        target = torch.zeros_like(value) if mode == "A1" else initial[name].to(value)
        out[name] = torch.where(mask.to(value.device), target, value)
    return out


def frozen(*, masks: dict[str, torch.Tensor], mode: Literal["A1", "A2", "A3"]) -> dict[str, torch.Tensor]:
    """Masks of the weights that fine-tuning must not move: the rewound ones (A1, A3) or all others (A2)."""
    return {name: ~mask if mode == "A2" else mask for name, mask in masks.items()}
