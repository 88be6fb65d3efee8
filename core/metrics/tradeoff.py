"""Privacy against utility: who is on the Pareto front, how much of the box a method covers, the risk at one accuracy.

Everywhere: test accuracy is a fraction, more is better; risk is an attack's success (AUC, TPR, ε), less is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.config import BadInput
from core.metrics.across_seeds import mean_interval
from core.metrics.intervals import Interval

LINE = ("method", "strength")
"""What makes a point of the trade-off apart from its seed: the line it is on, and where (nan: the only one)."""
ACCURACY = "test_accuracy"
UNBOUNDED = ("epsilon", "dp_epsilon", "tuning_epsilon")
"""Numbers that may be as large as they like; accuracy and the other risks are shares, at most 1."""


@dataclass(frozen=True)
class Box:
    """The range of accuracy and of risk in which hypervolumes are measured; every method gets the same one."""

    accuracy: tuple[float, float]
    """Worst and best."""
    risk: tuple[float, float]
    """Best and worst."""

    def __post_init__(self) -> None:
        for name in ("accuracy", "risk"):
            low, high = getattr(self, name)
            if not low < high:
                raise BadInput(f"the box of a hypervolume needs two different ends of {name} (got {low:g}, {high:g})")


@dataclass(frozen=True)
class Matched:
    """A method's risk at a given accuracy."""

    risk: float
    """NaN where the line does not pass that accuracy."""
    verdict: str
    """"reached", "more accurate throughout", "less accurate throughout", or "a gap" between unfinished points."""


def pareto_front(*, accuracy: np.ndarray, risk: np.ndarray) -> np.ndarray:
    """[N] bool: the points that no other one beats, by being at least as good on both axes and better on one.

    Equal points are on the front together; a point with NaN is never on it. O(N log N).
    """
    accuracy, risk = np.asarray(accuracy, np.float64), np.asarray(risk, np.float64)
    front = np.zeros(len(accuracy), bool)
    known = np.flatnonzero(np.isfinite(accuracy) & np.isfinite(risk))
    # by rising risk and, within the same risk, falling accuracy: on the front is what is more accurate than all before
    order = known[np.lexsort((-accuracy[known], risk[known]))]
    best, safest = -np.inf, np.nan
    for place in order:
        if accuracy[place] > best:
            best, safest = accuracy[place], risk[place]
            front[place] = True
        elif accuracy[place] == best and risk[place] == safest:
            front[place] = True
    return front


def hypervolume(*, accuracy: np.ndarray, risk: np.ndarray, box: Box) -> float:
    """Share [0, 1] of the box that the points dominate: all (accuracy, risk) worse than one of them on both axes.

    Points beyond the good ends count as lying on them, points beyond the bad ends cover nothing
    (Zitzler & Thiele 1999).
    """
    accuracy, risk = np.asarray(accuracy, np.float64), np.asarray(risk, np.float64)
    known = np.isfinite(accuracy) & np.isfinite(risk)
    width = np.clip((accuracy[known] - box.accuracy[0]) / (box.accuracy[1] - box.accuracy[0]), 0, 1)
    height = np.clip((box.risk[1] - risk[known]) / (box.risk[1] - box.risk[0]), 0, 1)
    order = np.argsort(-height)
    # strips of the box from the safest point down: each is as wide as the most accurate point that reaches it
    steps = -np.diff(np.append(height[order], 0.0))
    return float(np.sum(np.maximum.accumulate(width[order]) * steps)) if known.any() else 0.0


def risk_at_accuracy(*, accuracy: np.ndarray, risk: np.ndarray, target: float) -> Matched:
    """The lowest risk at which a method's line passes `target`; points in order of strength.

    Interpolated linearly between neighbouring measured points, never beyond the ends of the line.
    """
    accuracy, risk = np.asarray(accuracy, np.float64), np.asarray(risk, np.float64)
    known = np.isfinite(accuracy) & np.isfinite(risk)
    found = list(risk[known & (accuracy == target)])
    for here in np.flatnonzero(known[:-1] & known[1:]):
        a, b = accuracy[here], accuracy[here + 1]
        if min(a, b) < target < max(a, b):
            part = (target - a) / (b - a)
            found.append((1 - part) * risk[here] + part * risk[here + 1])
    if found:
        return Matched(float(min(found)), "reached")
    measured = accuracy[known]
    if (measured > target).all() and len(measured):
        return Matched(float("nan"), "more accurate throughout")
    return Matched(float("nan"), "less accurate throughout" if (measured < target).all() else "a gap")


def over_seeds(points: pd.DataFrame, columns: Sequence[str] = (ACCURACY, "auc")) -> pd.DataFrame:
    """One row per method and strength: mean over its seeds with Student's t interval.

    points: one row per trained model with method, strength, seed and, per column, the ends of its own interval
    (`_low`, `_high`). With one seed the row keeps those, which know of records but not of training again. Added:
    `seeds` (their number) and `spread` ("seeds" or "one audit"). Every other column is that of the first seed.
    """
    rows = []
    for _, part in points.groupby(list(LINE), sort=False, dropna=False):
        part = part.sort_values("seed")
        row: dict[str, Any] = part.iloc[0].to_dict()
        row |= {"seeds": len(part), "spread": "seeds" if len(part) > 1 else "one audit"}
        for name in columns if len(part) > 1 else ():
            # ε may be missing for some seeds: its mean would be that of other models than the accuracy's
            most = math.inf if name in UNBOUNDED else 1.0
            whole = part[name].notna().all()
            mean = mean_interval(part[name], low=0.0, high=most) if whole else Interval(*[float("nan")] * 3)
            row |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
        rows.append(row)
    found = pd.DataFrame(rows, columns=[*points.columns, "seeds", "spread"])
    methods = list(dict.fromkeys(points["method"]))
    order = found["method"].map({name: place for place, name in enumerate(methods)})
    return found.assign(order=order).sort_values(["order", "strength"]).drop(columns="order").reset_index(drop=True)


def volumes(points: pd.DataFrame, *, box: Box, risk: str = "auc") -> pd.DataFrame:
    """Hypervolume per method: value, low, high (Student's t over seeds, one volume per seed) and seeds.

    Only seeds with all of the method's points count: fewer points would cover less for no fault of the method.
    """
    return _per_method(points, risk, lambda line: hypervolume(accuracy=line[ACCURACY], risk=line[risk], box=box), 1.0)


def matched(points: pd.DataFrame, *, target: float, risk: str = "auc") -> pd.DataFrame:
    """Risk at test accuracy `target` per method: value, low, high over the seeds whose line passes it, seeds (how
    many do) and verdict (the commonest one of all seeds)."""

    def at(line: pd.DataFrame) -> Matched:
        return risk_at_accuracy(accuracy=line[ACCURACY], risk=line[risk], target=target)

    found = _per_method(points, risk, lambda line: at(line).risk, math.inf if risk in UNBOUNDED else 1.0)
    verdicts = {
        method: pd.Series([at(line).verdict for line in lines]).mode().iloc[0] if lines else ""
        for method, lines in _lines(points, risk).items()
    }
    return found.assign(verdict=found["method"].map(verdicts))


def common_accuracy(means: pd.DataFrame, *, risk: str = "auc") -> float:
    """The measured test accuracy that most methods' lines pass, of several the highest; NaN without points.

    means: one row per method and strength, in order of strength.
    """
    means = means.dropna(subset=[ACCURACY, risk])
    lines = [line for _, line in means.groupby("method", sort=False)]

    def passed(target: float) -> int:
        found = (risk_at_accuracy(accuracy=line[ACCURACY], risk=line[risk], target=target) for line in lines)
        return sum(math.isfinite(one.risk) for one in found)

    return max(means[ACCURACY], key=lambda target: (passed(target), target), default=float("nan"))


def paired_differences(
    points: pd.DataFrame, *, reference: str, columns: Sequence[str] = (ACCURACY, "auc")
) -> pd.DataFrame:
    """Every method minus the `reference` method with the same seed and strength, mean and Student's t interval.

    Columns: method, strength, seeds (pairs) and per column its difference with _low and _high (NaN with one pair).
    The same seed means the same records and initial weights, which two methods then share, and the same batch order
    where neither draws anything else from the same numbers, as CRL, adversarial regularisation and distillation on the
    reference set do, nor each batch anew, as DP-SGD does.
    """
    against = points.loc[points["method"] == reference, ["strength", "seed", *columns]]
    joined = points.merge(against, on=["strength", "seed"], suffixes=("", "_reference"))  # nan strengths match
    rows = []
    for (method, strength), part in joined.groupby(list(LINE), sort=False, dropna=False):
        row = {"method": method, "strength": strength, "seeds": len(part)}
        for name in columns:
            change = mean_interval((part[name] - part[f"{name}_reference"]).to_numpy())
            row |= {name: change.value, f"{name}_low": change.low, f"{name}_high": change.high}
        rows.append(row)
    ends = [f"{name}{end}" for name in columns for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=[*LINE, "seeds", *ends])


def _lines(points: pd.DataFrame, risk: str) -> dict[str, list[pd.DataFrame]]:
    """Per method the lines of its seeds, by strength; seeds that lack a point which another seed has are left out."""
    lines = {}
    for method, part in points.dropna(subset=[risk]).groupby("method", sort=False):
        whole = part["strength"].nunique(dropna=False)
        seeds = [line.sort_values("strength") for _, line in part.groupby("seed")]
        lines[str(method)] = [line for line in seeds if line["strength"].nunique(dropna=False) == whole]
    return lines


def _per_method(points: pd.DataFrame, risk: str, value: Callable[[pd.DataFrame], float], most: float) -> pd.DataFrame:
    """The value of every seed's line, from 0 to `most`, as mean and interval per method."""
    rows = []
    for method, lines in _lines(points, risk).items():
        values = [found for found in map(value, lines) if np.isfinite(found)]
        mean = mean_interval(values, low=0.0, high=most) if values else Interval(*[float("nan")] * 3)
        rows.append({"method": method, "value": mean.value, "low": mean.low, "high": mean.high, "seeds": len(values)})
    return pd.DataFrame(rows, columns=["method", "value", "low", "high", "seeds"])
