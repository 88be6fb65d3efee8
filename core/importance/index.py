"""The sorted-score index: threshold and per-layer counts of any fraction r in milliseconds, memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

WAYS = 16
"""Thresholds tried per pass over the layers: 8 passes find any float32 exactly."""


@dataclass(frozen=True)
class ScoreIndex:
    """The scores of every layer, each layer sorted ascending, in one memory-mapped float32 array.

    A *layer* here is one parameter tensor, in forward order.
    """

    layers: tuple[str, ...]
    offsets: np.ndarray
    """[L + 1] where each layer starts in `values`."""
    values: np.ndarray
    """[W] float32, ≥ 0, ascending within each layer."""

    @staticmethod
    def of(scores: dict[str, np.ndarray]) -> ScoreIndex:
        """Sort the scores of each layer (any shape, finite, ≥ 0), in memory."""
        offsets = np.concatenate([[0], np.cumsum([np.size(s) for s in scores.values()])]).astype(np.int64)
        values = np.empty(int(offsets[-1]), np.float32)
        for (name, score), start, end in zip(scores.items(), offsets[:-1], offsets[1:], strict=True):
            # + 0 turns −0 into 0, whose bit pattern orders like the others
            np.add(np.sort(np.asarray(score, np.float32), axis=None), 0, out=values[start:end])
            if end > start and not (values[start] >= 0 and np.isfinite(values[end - 1])):
                raise ValueError(f"scores of {name} must be finite and not negative")
        return ScoreIndex(tuple(scores), offsets, values)

    def save(self, file: Path) -> None:
        """Write to `file` (.npy) and a table of layers to the .json beside it."""
        np.save(file, self.values)
        file.with_suffix(".json").write_text(json.dumps({"layers": self.layers, "offsets": self.offsets.tolist()}))

    @staticmethod
    def open(file: Path) -> ScoreIndex:
        """Map an index that `save` wrote; reads nothing but its table of layers."""
        meta = json.loads(file.with_suffix(".json").read_text())
        return ScoreIndex(tuple(meta["layers"]), np.asarray(meta["offsets"], np.int64), np.load(file, mmap_mode="r"))

    @cached_property
    def sorted_by_layer(self) -> list[np.ndarray]:
        """One ascending view per layer."""
        plain = np.asarray(self.values)
        return [plain[a:b] for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]

    @cached_property
    def sizes(self) -> np.ndarray:
        """[L] weights per layer."""
        return np.diff(self.offsets)

    def top(self, count: int, among: Sequence[int] | None = None) -> tuple[float, np.ndarray]:
        """The `count` highest-scored weights among the layers with these positions (all, if None).

        Returns (threshold = the lowest score selected, [L] how many are selected in each layer). Ties at the
        threshold are given to the layers in forward order, so that the counts add up to `count` exactly.
        """
        chosen = list(range(len(self.layers))) if among is None else list(among)
        counts = np.zeros(len(self.layers), np.int64)
        count = min(count, int(self.sizes[chosen].sum()))
        if count <= 0:
            return float("inf"), counts
        threshold, below, upto = self._threshold(count, chosen)
        above, tied = self.sizes[chosen] - upto, upto - below
        room = count - above.sum()
        before = np.concatenate([[0], np.cumsum(tied)[:-1]])
        counts[chosen] = above + np.clip(room - before, 0, tied)
        return float(threshold), counts

    def _threshold(self, count: int, chosen: list[int]) -> tuple[np.float32, np.ndarray, np.ndarray]:
        """The count-th largest value; and of each chosen layer how many values are below it, how many up to it.

        The search is over the bit patterns of floats ≥ 0, which order like the floats.
        Of each layer only the stretch that can still hold the answer is looked at: on a freshly mapped file it is
        the pages touched that take the time.
        """
        views = [self.sorted_by_layer[i] for i in chosen]
        starts, ends = np.zeros(len(views), np.int64), self.sizes[chosen]
        total = int(ends.sum())
        low, high = 0, int(max(v[-1] for v in views if len(v)).view(np.int32))
        while low < high:  # invariant: at least `count` values ≥ float(low); the answer's bits lie in [low, high]
            step = -(-(high - low) // WAYS)
            bits = np.arange(low + step, high + step, step, dtype=np.int64).clip(max=high).astype(np.int32)
            cuts = bits.view(np.float32)
            below = np.stack([a + v[a:b].searchsorted(cuts) for v, a, b in zip(views, starts, ends, strict=True)])
            passed = int((total - below.sum(0) >= count).sum())
            if passed:
                low, starts = int(bits[passed - 1]), below[:, passed - 1]
            if passed < len(bits):
                high, ends = int(bits[passed]) - 1, below[:, passed]
        return np.int32(low).view(np.float32), starts, ends
