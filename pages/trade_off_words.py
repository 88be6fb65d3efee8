"""What a sweep's numbers say, in labels, cells and sentences. Only words: every number comes from the tables."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from core.figures import numbers as n
from core.figures.methods import ACCURACY, RISKS
from core.metrics import Box, matched, volumes
from core.presets import PRESETS
from core.sweep import Sweep

AT_MOST = 0.02
"""Loss of test accuracy that the first sentence allows: two points."""
SIGNS = {"defence.fraction": "r", "fraction r": "r", "importance.lam": "λ", "λ of PVE": "λ"}
"""Field or axis of a preset → its sign."""
TITLES = {"defence.fraction": "fraction r", "importance.lam": "λ of PVE"}
"""Field → what it is in words, as presets call it."""
BOXES = {"auc": (0.5, 1.0), "tpr_01": (0.0, 1.0)}
"""Risks whose range is known; of the others the box ends at the largest value shown."""


def axis_of(sweep: Sweep) -> str:
    """What runs along all lines of the sweep, in words; "" where every method has a strength of its own."""
    for name, values in sweep.vary.items():
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return TITLES.get(name, name.replace("_", " "))
    return next((preset.axis for preset in PRESETS.values() if preset.title == sweep.name), "")


def is_fraction(axis: str) -> bool:
    """Whether the axis is a share of the weights: written in per cent, drawn logarithmically."""
    return SIGNS.get(axis) == "r"


def label(strength: float, axis: str) -> str:
    """A place on a line: "r = 5 %", "lr = 0.1"; nothing for a method without strength."""
    if not math.isfinite(strength):
        return ""
    sign = SIGNS.get(axis) or axis.rpartition(".")[2] or "strength"
    return f"{sign} = {n.fraction(strength) if is_fraction(axis) else n.plain(strength)}"


def box_of(points: pd.DataFrame, risk: str) -> Box:
    """The box of the hypervolumes: the same for all methods of the page, and said on it."""
    worst = float(points[risk].max())
    return Box(accuracy=(0.0, 1.0), risk=BOXES.get(risk, (0.0, worst if worst > 0 else 1.0)))


def named(row: dict[str, Any]) -> str:
    """Method and place on its line."""
    return f"**{row['method']}**" + (f" ({row['label']})" if row["label"] else "")


def value(row: dict[str, Any], column: str) -> str:
    """A number with its interval."""
    write = n.accuracy if column == ACCURACY else RISKS[column].write
    return write(*(row.get(f"{column}{end}", math.nan) for end in ("", "_low", "_high")))


def findings(points: pd.DataFrame, means: pd.DataFrame, before: pd.DataFrame, risk: str, target: float) -> list[str]:
    """What to notice, in sentences.

    points: one row per model; means: one per method and strength, with label and front; before: the same for the
    undefended models (none or several); target: the test accuracy at which methods are compared.
    """
    told = [
        _bargain(means, before, risk),
        _front(means),
        _covered(points, risk, box_of(pd.concat([points, before]), risk)),
        _matched(points, risk, target),
    ]
    if (means["seeds"] < 2).all():
        told.append(
            "**One seed**: the whiskers are those of one audit. They do not know how differently another training "
            "would come out; run more seeds before choosing between neighbours."
        )
    return [sentence for sentence in told if sentence]


def _bargain(means: pd.DataFrame, before: pd.DataFrame, risk: str) -> str:
    """The lowest risk for a small loss of accuracy."""
    if len(before) != 1:
        return ""
    base = before.iloc[0].to_dict()
    kept = means[means[ACCURACY] >= base[ACCURACY] - AT_MOST - 1e-12].dropna(subset=[risk])
    limit = f"{100 * AT_MOST:.0f} points"
    title = RISKS[risk].title
    if kept.empty:
        return f"No point keeps test accuracy within {limit} of the undefended {n.accuracy(base[ACCURACY])}."
    best = kept.loc[kept[risk].idxmin()].to_dict()
    head = (
        f"Losing at most {limit} of test accuracy, {named(best)} has the lowest {title}: {value(best, risk)} at "
        f"{value(best, ACCURACY)}"
    )
    against = f"undefended, it is {value(base, risk)} at {value(base, ACCURACY)}"
    return f"{head}; {against}." if best[risk] < base[risk] else f"{head}, no lower than before: {against}."


def _front(means: pd.DataFrame) -> str:
    """Who is on the Pareto front, and who is not."""
    counts = means.groupby("method", sort=False)["front"].sum()
    on = [f"{method} ({count:.0f})" for method, count in counts.items() if count]
    off = [str(method) for method, count in counts.items() if not count]
    if not on:
        return "**Pareto front**: the undefended model beats every point shown."
    beaten = f"; for every point of {_listed(off)} another one is at least as good on both axes" if off else ""
    return f"**Pareto front** (points not beaten on both axes): {_listed(on)}{beaten}."


def _covered(points: pd.DataFrame, risk: str, box: Box) -> str:
    """Hypervolumes, the largest first, and whether the first is ahead by more than chance."""
    found = volumes(points, box=box, risk=risk).dropna(subset=["value"]).sort_values("value", ascending=False)
    if len(found) < 2:
        return ""
    rows = found.to_dict("records")
    ranked = [f"{row['method']} {n.auc(row['value'], row['low'], row['high'])}" for row in rows]
    write = RISKS[risk].write
    ends = f"test accuracy 0–100 %, {RISKS[risk].title} {write(box.risk[0])}–{write(box.risk[1])}"
    first, second = rows[:2]
    settled = first["low"] > second["high"]  # False where there are no intervals
    doubt = "" if settled else " The first two cannot be told apart by their intervals."
    if math.isnan(first["low"]) or math.isnan(second["low"]):
        doubt = " With one seed there is no interval to tell them apart by."
    return f"**Hypervolume** (share of the box that a line dominates; {ends}): {', '.join(ranked)}.{doubt}"


def _matched(points: pd.DataFrame, risk: str, target: float) -> str:
    """Risk at the same accuracy, where a method's line passes it."""
    rows = matched(points, target=target, risk=risk).to_dict("records")
    reached = sorted((row for row in rows if row["seeds"]), key=lambda row: row["value"])
    if len(reached) < 2:
        return ""
    write = RISKS[risk].write
    parts = [
        f"{row['method']} {write(row['value'], row['low'], row['high'])}"
        + (f" ({row['seeds']} seeds)" if row["seeds"] > 1 else "")
        for row in reached
    ]
    missed = [f"{row['method']} ({row['verdict']})" for row in rows if not row["seeds"]]
    rest = f"; not reached by {_listed(missed)}" if missed else ""
    return f"**At test accuracy {n.accuracy(target)}** {RISKS[risk].title} is: {', '.join(parts)}{rest}."


def cells(means: pd.DataFrame, risks: list[str]) -> pd.DataFrame:
    """The table of all points: one line each, with intervals."""
    rows = []
    for row in means.to_dict("records"):
        shown = {"method": row["method"], "strength": row["label"] or n.MISSING, "test accuracy": value(row, ACCURACY)}
        shown |= {RISKS[risk].title: value(row, risk) for risk in risks}
        shown |= {"on the front": "yes" if row["front"] else "", "seeds": row["seeds"], "attacker": row["adaptive"]}
        rows.append(shown)
    return pd.DataFrame(rows)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
