"""Where and in which number format the engine computes, decided once per process."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from functools import cache

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt(3)."""


@cache
def device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def low_precision() -> torch.dtype | None:
    """bfloat16 where the hardware multiplies it natively (CUDA, avx512_bf16, AMX), else None: training stays fp32."""
    if device().type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else None
    has = torch.cpu.get_capabilities()
    return torch.bfloat16 if has.get("avx512_bf16") or has.get("amx_bf16") else None


@cache
def keep_memory() -> None:
    """Tell glibc to keep freed memory: activations come and go every step, and asking the kernel for them anew costs
    thousands of page faults per step of a conv net on a CPU (benchmarks/page_faults.py). Does nothing elsewhere."""
    if device().type != "cpu" or sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:  # not in every C library
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def autocast(dtype: torch.dtype | None) -> contextlib.AbstractContextManager:
    """Autocast to `dtype`, or nothing where it is None."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device().type, dtype=dtype)


def fast_layout(x: torch.Tensor) -> torch.Tensor:
    """Images in channels-last order, which convolutions of this torch run faster on; tables unchanged."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
