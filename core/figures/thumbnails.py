"""Records as small pictures."""

from __future__ import annotations

import numpy as np


def thumbnails(images: np.ndarray, side: int = 112) -> list[np.ndarray]:
    """Images [n, C, H, W] uint8 as n arrays [H', W', 3] uint8, enlarged by a whole factor to at least `side` pixels.

    Pixels are repeated, not smoothed: a browser's smoothing would show strokes that the network never saw. One channel
    is drawn as grey; of more than three the first three are shown, of two the first.
    """
    channels, height, width = images.shape[1:]
    factor = max(1, -(-side // max(height, width)))
    shown = images[:, :3] if channels >= 3 else np.repeat(images[:, :1], 3, axis=1)
    large = shown.repeat(factor, axis=2).repeat(factor, axis=3)
    return list(np.ascontiguousarray(large.transpose(0, 2, 3, 1)))
