"""Sets that need no file: scikit-learn's digits, and the public image sets that torchvision downloads."""

from __future__ import annotations

import numpy as np

from core.config import BadInput
from core.data.config import TorchvisionData
from core.data.source import Source

PIXEL_STEP = 15
"""The digits' grey values go from 0 to 16; times 15 they fit one byte without rounding."""


def load_digits() -> Source:
    """1 797 digits, uint8 [N, 1, 8, 8]."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    x = (bunch.images * PIXEL_STEP).astype(np.uint8)[:, None]
    classes = tuple(str(name) for name in bunch.target_names)
    return Source("image", bunch.target.astype(np.int64), classes, lambda rows: x[rows])


def load_torchvision(config: TorchvisionData) -> Source:
    """The set's train rows, then its test rows, uint8 [N, C, H, W]; BadInput where it cannot be downloaded."""
    folder = config.folder.expanduser()
    name = config.names[config.kind]
    try:
        parts = _download(config.kind, str(folder))
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise BadInput(
            f"{name} is not in {folder} and could not be downloaded ({reason}); "
            "connect to the internet once, or choose the built-in digits"
        ) from None
    x = np.concatenate([_channels_first(np.asarray(part.data)) for part in parts])
    y = np.concatenate([np.asarray(part.labels if config.kind == "svhn" else part.targets) for part in parts]).astype(
        np.int64
    )
    classes = tuple(getattr(parts[0], "classes", ())) or tuple(str(k) for k in range(int(y.max()) + 1))
    return Source("image", y, classes, lambda rows: x[rows])


def _download(kind: str, folder: str) -> list:
    from core.models.torchvision_cpu import torchvision

    sets = torchvision.datasets
    if kind == "svhn":
        return [sets.SVHN(folder, split=split, download=True) for split in ("train", "test")]
    maker = {"cifar10": sets.CIFAR10, "cifar100": sets.CIFAR100, "fashion_mnist": sets.FashionMNIST}[kind]
    return [maker(folder, train=train, download=True) for train in (True, False)]


def _channels_first(data: np.ndarray) -> np.ndarray:
    """[N, H, W] and [N, H, W, 3] → [N, C, H, W]; SVHN comes that way already."""
    if data.ndim == 3:
        return data[:, None]
    return data.transpose(0, 3, 1, 2) if data.shape[-1] == 3 else data
