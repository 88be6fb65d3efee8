"""The summary of an experiment as a readable table, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from core.metrics import Interval


def text(summary: dict[str, Any]) -> str:
    """Lines of before against after, with intervals, and the paired test of each attack."""
    from core.defenses.dpsgd import shown
    from core.figures import numbers as n

    before, after = summary["before"], summary["after"]
    weights = summary["weights"]
    head = f"experiment {summary['experiment']}: {summary['dataset']}, {summary['model']}"
    head += f", {n.count(weights['count'])} weights"
    if after:
        head += f", {n.count(weights['rewound'])} rewound"
    guarantees = []
    for when, side in (("before", before), ("after", after)):
        if side and side["privacy"]:
            guarantees.append(f"DP-SGD, {when}: {shown(side['privacy'])}; it covers the {side['privacy']['covers']}")
    pearson = ", ".join(f"{kind} {n.correlation(value)}" for kind, value in weights["pearson"].items())
    rows: list[tuple[str, ...]] = [("", "before", "after", "after − before")]
    for name, words in (("train", "accuracy on members"), ("test", "accuracy on non-members")):
        cells = [
            n.accuracy(*(side[f"{name}_accuracy{end}"] for end in ("", "_low", "_high"))) if side else n.MISSING
            for side in (before, after)
        ]
        change = n.points(after[f"{name}_accuracy"] - before[f"{name}_accuracy"]) if after else ""
        rows.append((words, *cells, change))
    for attack, found in before["attacks"].items():
        pair = [found, after["attacks"].get(attack) if after else None]
        cells = [n.auc(f["auc"], f["auc_low"], f["auc_high"]) if f else n.MISSING for f in pair]
        test = summary["paired"].get(attack)
        change = f"{n.auc(test['difference'], test['low'], test['high'])} {n.p_value(test['p_value'])}" if test else ""
        rows.append((f"AUC {attack}", *cells, change))
        cells = [_tpr(f) if f else n.MISSING for f in pair]
        rows.append((f"  TPR at 1 % FPR, {found['members']} + {found['non_members']} records", *cells, ""))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([head, f"learnability against vulnerability, Pearson: {pearson}", *guarantees, "", *lines, ""])


def _tpr(found: dict[str, Any]) -> str:
    """TPR at 1 % FPR of one attack with its Clopper–Pearson interval."""
    from core.figures import numbers as n
    from core.metrics import clopper_pearson

    rate = clopper_pearson(round(found["tpr_at_fpr"]["0.01"] * found["members"]), found["members"])
    return n.accuracy(rate.value, rate.low, rate.high)


def sweep_text(rows: pd.DataFrame, write: str = "plain", bootstrapped: dict[tuple, Interval] | None = None) -> str:
    """One line per method and strength: mean over seeds with Student's t interval, or the interval of a single audit.

    write: "plain" columns, or "markdown" for the README. bootstrapped: another interval of the AUC by method and
    strength, see `core.sweep.bootstrapped`.
    """
    from core.figures import numbers as n
    from core.metrics import mean_interval

    extra = ("AUC, bootstrap over models and records",) if bootstrapped is not None else ()
    table: list[tuple[str, ...]] = [("", "strength", "seeds", "test accuracy", "AUC", "TPR at 1 % FPR", *extra)]
    for (method, strength), part in rows.groupby(["method", "strength"], sort=False, dropna=False):
        cells = []
        for name, wording in (("test_accuracy", n.accuracy), ("auc", n.auc), ("tpr_01", n.accuracy)):
            if len(part) > 1:
                found = mean_interval(part[name].tolist(), low=0.0, high=1.0)
                cells.append(wording(found.value, found.low, found.high))
            else:
                cells.append(wording(*part[[name, f"{name}_low", f"{name}_high"]].iloc[0]))
        if bootstrapped is not None:
            other = bootstrapped.get((method, None if strength != strength else strength))
            cells.append(n.auc(other.value, other.low, other.high) if other else n.MISSING)
        shown = "" if strength != strength else f"{strength:g}"
        table.append((str(method), shown, str(len(part)), *cells))
    if write == "markdown":
        return "\n".join(f"| {' | '.join(row)} |" for row in [table[0], ("---",) * len(table[0]), *table[1:]])
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
