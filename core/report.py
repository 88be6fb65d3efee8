"""The summary of an experiment as a readable table, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    measures = {
        "train_accuracy": "accuracy on members",
        "test_accuracy": "accuracy on non-members",
        "test_calibration_error": "calibration error on non-members",
    }
    sides = [side for side in (before, after) if side]
    for name, words in measures.items():
        if any(name not in side for side in sides):  # summaries of earlier versions have no calibration error
            continue
        cells = [n.accuracy(*(side[f"{name}{end}"] for end in ("", "_low", "_high"))) for side in sides]
        change = n.points(after[name] - before[name]) if after else ""
        rows.append((words, *cells, *([] if after else [n.MISSING]), change))
    ran = [side["attacks"] if side else {} for side in (before, after)]
    for attack in dict.fromkeys([*ran[0], *ran[1]]):  # non-adaptive ones are there only after it
        pair = [found.get(attack) for found in ran]
        known = next(found for found in pair if found)
        cells = [n.auc(f["auc"], f["auc_low"], f["auc_high"]) if f else n.MISSING for f in pair]
        test = summary["paired"].get(attack)
        change = _tested(test) if test else ""
        # summaries of earlier versions do not say what the references knew
        name = attack.partition(":")[0] + (f" ({known['adaptive']})" if "adaptive" in known else "")
        rows.append((f"AUC {name}", *cells, change))
        cells = [tpr(f) for f in pair]
        rows.append((f"  TPR at 1 % FPR, {known['members']} + {known['non_members']} records", *cells, ""))
        if test and "adaptive_minus_non_adaptive" in test:
            rows.append(("  adaptive − non-adaptive", "", _tested(test["adaptive_minus_non_adaptive"]), ""))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    missed = _missed({when: side for when, side in (("before", before), ("after", after)) if side})
    lines += ["", *missed] if missed else []
    return "\n".join([head, f"learnability against vulnerability, Pearson: {pearson}", *guarantees, "", *lines, ""])


def _missed(sides: dict[str, dict[str, Any]]) -> list[str]:
    """What was not run and why; said once where it holds for all audits."""
    # summaries of earlier versions do not tell
    reasons = [side.get("not_run", {}) for side in sides.values()]
    everywhere = {name: why for name, why in reasons[0].items() if all(why == other.get(name) for other in reasons)}
    told = not_run(everywhere)
    for when, own in zip(sides, reasons, strict=True):
        told += not_run({name: why for name, why in own.items() if name not in everywhere}, f", {when}")
    return told


def not_run(reasons: Mapping[str, str], when: str = "") -> list[str]:
    """One line per reason why attacks were left out, or will be, with the attacks it holds for; by attack's name."""
    from core.attacks import ATTACKS

    shared: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        why = reason.removeprefix(ATTACKS[name.partition(":")[0]].title).removeprefix(":").strip()
        shared.setdefault(why, []).append(name)
    return [f"not run{when}: {', '.join(names)}; {why}" for why, names in shared.items()]


def _tested(test: dict[str, float]) -> str:
    """A paired difference with its interval and p."""
    from core.figures import numbers as n

    return f"{n.auc(test['difference'], test['low'], test['high'])} {n.p_value(test['p_value'])}"


def tpr(found: dict[str, Any] | None, fpr: str = "0.01") -> str:
    """TPR at an FPR of one attack of a summary, with its Clopper–Pearson interval; None: it did not run."""
    from core.figures import numbers as n
    from core.metrics import clopper_pearson

    if not found:
        return n.MISSING
    rate = clopper_pearson(round(found["tpr_at_fpr"][fpr] * found["members"]), found["members"])
    return n.accuracy(rate.value, rate.low, rate.high)


def sweep_text(rows: pd.DataFrame, write: str = "plain", bootstrapped: dict[tuple, Interval] | None = None) -> str:
    """One line per method and strength: mean over seeds with Student's t interval, or the interval of a single audit.

    write: "plain" columns, or "markdown" for a README. bootstrapped: another interval of the AUC by method and
    strength, see `core.sweeps.results.bootstrapped`. Guarantees of DP-SGD (ε and δ, and whether they cover the
    fine-tuning alone) have a column where there are some.
    """
    from core.figures import numbers as n
    from core.figures.methods import RISKS, guarantee, guaranteed
    from core.metrics import mean_interval, over_seeds

    numbers = {
        "test accuracy": ("test_accuracy", n.accuracy),
        "AUC": ("auc", n.auc),
        "TPR at 1 % FPR": ("tpr_01", n.accuracy),
    }
    if "test_calibration_error" in rows and rows["test_calibration_error"].notna().any():
        numbers["calibration error"] = ("test_calibration_error", n.accuracy)
    private = guaranteed(rows)
    extra = [RISKS["dp_epsilon"].title] * bool(private)
    extra += ["AUC, bootstrap over models and records"] * (bootstrapped is not None)
    table: list[tuple[str, ...]] = [("", "strength", "seeds", *numbers, *extra)]
    for (method, strength), part in rows.groupby(["method", "strength"], sort=False, dropna=False):
        cells = []
        for name, wording in numbers.values():
            if len(part) > 1:
                found = mean_interval(part[name].tolist(), low=0.0, high=1.0)
                cells.append(wording(found.value, found.low, found.high))
            else:
                cells.append(wording(*part[[name, f"{name}_low", f"{name}_high"]].iloc[0]))
        if private:
            cells.append(guarantee(over_seeds(part, private).iloc[0].to_dict()))
        if bootstrapped is not None:
            other = bootstrapped.get((method, None if strength != strength else strength))
            cells.append(n.auc(other.value, other.low, other.high) if other else n.MISSING)
        shown = "" if strength != strength else f"{strength:g}"
        table.append((str(method), shown, str(len(part)), *cells))
    if write == "markdown":
        lines = [f"| {' | '.join(row)} |" for row in [table[0], ("---",) * len(table[0]), *table[1:]]]
        return "\n".join(lines).replace(n.GAP, " ")
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
