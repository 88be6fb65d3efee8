"""What a sweep's numbers say, in labels, cells and sentences. Only words: every number comes from the tables."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from core.audit import NO_REFERENCES
from core.experiment import Experiment
from core.figures import numbers as n
from core.figures.methods import ACCURACY, RISKS, delta, guarantee, guaranteed
from core.metrics import Box, matched, volumes
from core.sweeps.presets import LEFT_OUT, PRESETS
from core.sweeps.sweep import Sweep
from pages.forms import sign

AT_MOST = 0.02
"""Loss of test accuracy that the first sentence allows: two points."""
NAMED = 5
"""Methods that a sentence lists; of more it gives the number."""
SIGNS = {"defence.fraction": "r", "fraction r": "r", "λ of PVE": "λ"}
"""Field or axis of a preset → its sign, where its form does not have one."""
TITLES = {"defence.fraction": "fraction r", "importance.lam": "λ of PVE"}
"""Field → what it is in words, as presets call it."""
BOXES = {"auc": (0.5, 1.0), "tpr_01": (0.0, 1.0), "tpr_001": (0.0, 1.0)}
"""Risks whose range is known; of the others the box ends at the largest value shown."""


def axis_of(sweep: Sweep) -> str:
    """What runs along all lines of the sweep, in words; "" where every method has a strength of its own."""
    for name, values in sweep.vary.items():
        if (
            name != "seed"
            and len(values) > 1
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        ):
            return TITLES.get(name, name.replace("_", " "))
    return next((preset.axis for preset in PRESETS.values() if preset.title == sweep.name), "")


def name_of(sweep: Sweep) -> str:
    """What a list of comparisons calls it: by its question, data and model."""
    default = Experiment()
    data, model = ((sweep.base.get(part) or {}).get("kind", getattr(default, part).kind) for part in ("data", "model"))
    return f"{sweep.name} · {data}, {model} · {n.count(sweep.size)} experiments"


def is_fraction(axis: str) -> bool:
    """Whether the axis is a share, of weights or epochs: written in per cent, drawn logarithmically."""
    return SIGNS.get(axis) == "r" or axis == LEFT_OUT


def label(strength: float, axis: str) -> str:
    """A place on a line: "r = 5 %", "ε = 8", "lr = 0.1"; nothing for a method without strength."""
    if not math.isfinite(strength):
        return ""
    known = SIGNS.get(axis) or sign(axis.rpartition(".")[2] or "strength")
    if is_fraction(axis):
        return f"{known} = {n.fraction(strength)}"
    return f"{known} = {n.count(int(strength)) if strength == int(strength) else n.plain(strength)}"


def labels(table: pd.DataFrame, axis: str) -> list[str]:
    """The label of every row: by the field its strength is a value of, where the sweep says so, else by the axis."""
    fields = table["field"] if "field" in table else [axis] * len(table)
    pairs = zip(table["strength"], fields, strict=True)
    return [label(strength, field if isinstance(field, str) else axis) for strength, field in pairs]


def box_of(points: pd.DataFrame, risk: str) -> Box:
    """The box of the hypervolumes: the same for all methods of the page, and said on it."""
    worst = float(points[risk].max())
    return Box(accuracy=(0.0, 1.0), risk=BOXES.get(risk, (0.0, worst if worst > 0 else 1.0)))


def named(row: dict[str, Any]) -> str:
    """Method and place on its line."""
    return f"**{row['method']}**" + (f" ({row['label']})" if row["label"] else "")


def value(row: dict[str, Any], column: str) -> str:
    """A number with its interval; a guaranteed ε also with its δ."""
    if column == "dp_epsilon":
        return guarantee(row)
    write = n.accuracy if column == ACCURACY else RISKS[column].write
    return write(*(row.get(f"{column}{end}", math.nan) for end in ("", "_low", "_high")))


def findings(points: pd.DataFrame, means: pd.DataFrame, before: pd.DataFrame, risk: str, target: float) -> list[str]:
    """What to notice, in sentences.

    points: one row per model; means: one per method and strength, with label and front; before: the same for the
    undefended models (none or several); target: the test accuracy at which methods are compared.
    """
    told = [_bargain(means, before, risk), _front(means)]
    if lines(means):
        told += [_covered(points, risk, box_of(pd.concat([points, before]), risk)), _matched(points, risk, target)]
    if (means["seeds"] < 2).all():
        told.append(
            "**One seed**: the whiskers are those of one audit and do not know how differently another training would "
            "come out. Run more seeds before choosing between neighbours."
        )
    elif (means["seeds"] < 3).all():
        told.append("**Two seeds** make intervals that are very wide, or narrow by luck. Three are the least to trust.")
    if risk == "dp_epsilon":
        known = " or ".join(dict.fromkeys(delta(value) for value in points["dp_delta"].dropna()))
        told.append(f"**Guaranteed ε** holds with {known}, the probability with which the guarantee may fail.")
    return [sentence for sentence in told if sentence]


def lines(means: pd.DataFrame) -> bool:
    """Whether several methods have more than one point: only then do areas and common accuracies compare anything."""
    return int((means.groupby("method").size() > 1).sum()) > 1


def _bargain(means: pd.DataFrame, before: pd.DataFrame, risk: str) -> str:
    """The lowest risk for a small loss of accuracy."""
    plain = before[before["method"] == "before"] if len(before) > 1 else before  # group norm: the baseline of DP-SGD
    if len(plain) != 1:
        return ""
    base = plain.iloc[0].to_dict()
    kept = means[means[ACCURACY] >= base[ACCURACY] - AT_MOST - 1e-12].dropna(subset=[risk])
    limit = f"{100 * AT_MOST:.0f} percentage points"
    title = RISKS[risk].title
    if kept.empty:
        return f"No point keeps test accuracy within {limit} of the undefended {n.accuracy(base[ACCURACY])}."
    best = kept.loc[kept[risk].idxmin()].to_dict()
    head = (
        f"Of what loses at most {limit} of test accuracy, {named(best)} has the lowest {title}: {value(best, risk)} at "
        f"an accuracy of {value(best, ACCURACY)}"
    )
    against = f"undefended: {value(base, risk)} at {value(base, ACCURACY)}"
    return f"{head} ({against})." if best[risk] < base[risk] else f"{head}, **no lower** than before ({against})."


def _front(means: pd.DataFrame) -> str:
    """Who is on the Pareto front, and who is not."""
    counts = means.groupby("method", sort=False)["front"].agg(["sum", "size"])
    on = [
        str(row.Index) + (f" ({row.sum:.0f} of {row.size} points)" if row.size > 1 else "")
        for row in counts.itertuples()
        if row.sum
    ]
    off = [str(method) for method in counts.index[counts["sum"] == 0]]
    if not on:
        return "**Pareto front**: the undefended model beats every point shown."
    beaten = f". Beaten everywhere: {_listed(off, most=NAMED)}" if off else ""
    return f"**Pareto front** (no other point is better on both axes): {_listed(on)}{beaten}."


def _covered(points: pd.DataFrame, risk: str, box: Box) -> str:
    """Hypervolumes, the largest first, and whether the first is ahead by more than chance."""
    found = volumes(points, box=box, risk=risk).dropna(subset=["value"]).sort_values("value", ascending=False)
    if len(found) < 2:
        return ""
    rows = found.to_dict("records")
    ranked = [f"{row['method']} {n.auc(row['value'], row['low'], row['high'])}" for row in rows[:NAMED]]
    if len(rows) > NAMED:
        ranked.append(f"the other {len(rows) - NAMED} at most {n.auc(rows[NAMED]['value'])}")
    first, second = rows[:2]
    settled = first["low"] > second["high"]  # False where there are no intervals
    doubt = "" if settled else " The intervals of the first two overlap."
    if math.isnan(first["low"]) or math.isnan(second["low"]):
        doubt = " With one seed there is no interval."
    ends = "–".join(RISKS[risk].write(end) for end in box.risk)
    return (
        "**Hypervolume**, the share of the picture that is worse than a line on both axes (accuracy 0–100 %, "
        f"{RISKS[risk].title} {ends}; more is better): {'; '.join(ranked)}.{doubt}"
    )


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
    rest = f". Not reached by {_listed(missed, most=NAMED)}" if missed else ""
    return f"**At the same test accuracy, {n.accuracy(target)}**, {RISKS[risk].title} is: {'; '.join(parts)}{rest}."


def attacker(title: str, table: pd.DataFrame) -> str:
    """The attack's title and, where it looks at reference models, whether they know the defence."""
    known = [said for said in dict.fromkeys(table["adaptive"]) if said and said != NO_REFERENCES]
    return f"{title} ({' / '.join(known)})" if known else title


def cells(means: pd.DataFrame, risks: list[str]) -> pd.DataFrame:
    """The table of all points: one line each, with intervals."""
    rows = []
    strengths = means["label"].astype(bool).any()
    if guaranteed(means):  # of fine-tunings too, which are no risk of the model
        risks = list(dict.fromkeys([*risks, "dp_epsilon"]))
    for row in means.to_dict("records"):
        shown = {"method": row["method"]} | ({"strength": row["label"] or n.MISSING} if strengths else {})
        shown |= {"test accuracy": value(row, ACCURACY)} | {RISKS[risk].title: value(row, risk) for risk in risks}
        shown |= {"on the front": "yes" if row["front"] else "", "seeds": row["seeds"], "attacker": row["adaptive"]}
        rows.append(shown)
    return pd.DataFrame(rows)


def _listed(names: list[str], most: int | None = None) -> str:
    """ "a, b and c"; of more than `most` only how many."""
    if most and len(names) > most:
        return f"{len(names)} methods"
    return names[0] if len(names) == 1 else f"{'; '.join(names[:-1])} and {names[-1]}"
