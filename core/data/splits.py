"""The four disjoint splits of a run: members, non-members, reference and population."""

from __future__ import annotations

import numpy as np

from core.config import BadInput
from core.data.config import DataConfig

SPLITS = ("members", "non_members", "reference", "population")


def split(
    count: int,
    config: DataConfig,
    *,
    members: np.ndarray | None = None,
    non_members: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Row numbers [size] int64 of each split, drawn without replacement from one generator of `config.seed`.

    members: [count] bool, the rows a brought model was trained on: members come from these only, the other splits
    from the rest. non_members: [count] bool, the rows its non-members come from; reference and population then take
    what is left of all rows outside `members`. BadInput where there are too few.
    """
    generator = np.random.default_rng(config.seed)
    sizes = {name: getattr(config, name) for name in SPLITS}
    asked = ", ".join(f"{name.replace('_', '-')} {size}" for name, size in sizes.items())
    if members is None:
        _enough(count, sum(sizes.values()), "records", asked)
        order = generator.permutation(count)
        ends = np.cumsum(list(sizes.values()))
        return dict(zip(SPLITS, np.split(order[: ends[-1]], ends[:-1]), strict=True))

    _enough(int(members.sum()), sizes["members"], "records that were members of the model", asked)
    chosen = {"members": generator.permutation(np.flatnonzero(members))[: sizes["members"]]}
    outside = ~members
    pool = outside if non_members is None else outside & non_members
    if non_members is not None:
        _enough(int(pool.sum()), sizes["non_members"], "records listed as non-members", asked)
    _enough(int(outside.sum()), sum(sizes.values()) - sizes["members"], "records outside the model's members", asked)
    chosen["non_members"] = generator.permutation(np.flatnonzero(pool))[: sizes["non_members"]]
    left = outside.copy()
    left[chosen["non_members"]] = False
    order = generator.permutation(np.flatnonzero(left))
    chosen["reference"] = order[: sizes["reference"]]
    chosen["population"] = order[sizes["reference"] : sizes["reference"] + sizes["population"]]
    return chosen


def _enough(there: int, needed: int, what: str, asked: str) -> None:
    if there < needed:
        raise BadInput(f"there are {there} {what}, but {needed} are needed (asked for: {asked}); ask for fewer")


def flip(y: np.ndarray, splits: dict[str, np.ndarray], *, classes: int, share: float, seed: int) -> np.ndarray:
    """y [n] with round(share × size) labels of each split changed, uniformly to one of the other classes.

    The flips have a generator of their own, so the splits stay the same whatever the share.
    """
    generator = np.random.default_rng([seed, 1])
    noisy = y.copy()
    for positions in splits.values():
        chosen = generator.choice(positions, size=round(share * len(positions)), replace=False)
        noisy[chosen] = (y[chosen] + generator.integers(1, classes, size=len(chosen))) % classes
    return noisy
