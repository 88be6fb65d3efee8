"""How methods and risks are drawn in every figure that compares defences: colours, number formats, whiskers, ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from core.defenses.dpsgd import VACUOUS
from core.figures import numbers as n
from core.figures.palette import AFTER, CONTEXT, Ink

ACCURACY = "test_accuracy"
ACCURACY_TITLE = "test accuracy"

METHODS = (
    AFTER,
    Ink("#E69F00", "dash", "square"),
    Ink("#56B4E9", "dot", "triangle-up"),
    Ink("#CC79A7", "dashdot", "cross"),
    Ink("#8F8F00", "longdash", "x"),
    Ink("#8C6BB1", "longdashdot", "triangle-down"),
    Ink("#A6611A", "solid", "star"),
)
"""More methods than these cannot be told apart: the rest are grey. Members' and non-members' colours are left out."""


@dataclass(frozen=True)
class Risk:
    """A measure of risk on an axis."""

    title: str
    write: Callable[..., str]
    """value, low, high → text."""
    chance: float | None = None
    """What an attacker without a model reaches, where that is worth a line."""
    percent: bool = False
    attacked: bool = True
    """Whether it is what one attack achieves, so that its axis has to name the attack."""

    def of(self, attack: str) -> str:
        """The title with the attack behind it, adaptive or not in its name; empty: no particular attack."""
        return f"{self.title.removeprefix('attack ')} · {attack}" if attack and self.attacked else self.title


def _epsilon(value: float | None, low: float | None = None, high: float | None = None) -> str:
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    return f"{n.plain(value)} [{n.plain(low)}, {n.plain(high)}]" if known else n.plain(value)


def _bound(value: float | None, low: float | None = None, high: float | None = None) -> str:
    vacuous = value is not None and value > VACUOUS
    return f"> {VACUOUS}: vacuous" if vacuous else _epsilon(value, low, high)


RISKS = {
    "auc": Risk("attack AUC", n.auc, 0.5),
    "tpr_01": Risk("TPR at 1 % FPR", n.accuracy, 0.01, percent=True),
    "tpr_001": Risk("TPR at 0.1 % FPR", n.accuracy, 0.001, percent=True),
    "epsilon": Risk("empirical ε", _epsilon),
    "dp_epsilon": Risk("guaranteed ε", _bound, attacked=False),
}
"""Column of the risk → how it is drawn."""


def delta(value: float | None) -> str:
    """The δ without which a guaranteed ε says nothing: "δ = 0.004"."""
    return f"δ = {n.MISSING if value is None or not math.isfinite(value) else f'{value:.1g}'}"


GUARANTEES = ("dp_epsilon", "tuning_epsilon")
"""ε of DP-SGD in a row of results: of the whole training, or of a fine-tuning alone, which is no risk of the model."""


def guaranteed(rows: pd.DataFrame) -> tuple[str, ...]:
    """The columns of GUARANTEES that have a number in some row."""
    return tuple(name for name in GUARANTEES if name in rows and rows[name].notna().any())


def guarantee(row: dict) -> str:
    """ε and δ of a row of results, from dp_epsilon (with the ends of its interval, if any) and dp_delta; else those of
    its fine-tuning, with the words that they cover no more."""
    for name, words in zip(GUARANTEES, ("", " (the fine-tuning alone)"), strict=True):
        text = _bound(*ends(row, name)) if name in row else n.MISSING
        if text != n.MISSING:
            return f"{text}, {delta(row[name.replace('epsilon', 'delta')])}{words}"
    return n.MISSING


def inks(methods: Sequence[str], drawn: Iterable[str]) -> dict[str, Ink]:
    """Every method drawn → how, in the order of `methods`: the same order gives the same colours in every figure.

    Without `methods` they take their colours in the order drawn; those beyond the palette, or left out, are grey.
    """
    order = list(dict.fromkeys(methods or drawn))[: len(METHODS)]
    return {name: METHODS[order.index(name)] if name in order else CONTEXT for name in drawn}


def write_of(column: str) -> Callable[..., str]:
    """How the numbers of a column, accuracy or a risk, are written."""
    return n.accuracy if column == ACCURACY else RISKS[column].write


def ends(row: dict, column: str) -> tuple[float, float, float]:
    """value, low, high; NaN where there is no interval."""
    return row[column], row.get(f"{column}_low", math.nan), row.get(f"{column}_high", math.nan)


def whisker(part: pd.DataFrame, column: str, ink: Ink, alpha: float = 0.6) -> dict | None:
    """Plotly's error bars of a column; None where the table has no intervals."""
    if f"{column}_low" not in part:
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": part[f"{column}_high"] - part[column],
        "arrayminus": part[column] - part[f"{column}_low"],
        "thickness": 1.2,
        "width": 3,
        "color": ink.faded(alpha),
    }


def axis_range(points: pd.DataFrame, column: str, floor: float, ceiling: float) -> tuple[float, float]:
    """A range that shows all values; whiskers longer than usual, or than the values are apart, may leave it."""
    low, high = float(points[column].min()), float(points[column].max())
    if f"{column}_low" in points:
        usual = ((points[f"{column}_high"] - points[f"{column}_low"]) / 2).astype(float).median()
        reach = max(0.03, min(high - low, usual))
        low = max(low - reach, min(low, points[f"{column}_low"].astype(float).min(skipna=True)))
        high = min(high + reach, max(high, points[f"{column}_high"].astype(float).max(skipna=True)))
    room = 0.04 * max(high - low, 0.02)
    return max(floor - room, low - room), min(ceiling + room, high + room)
