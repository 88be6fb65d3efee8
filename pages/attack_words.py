"""What the attack tables say, in cells and sentences. Only words: every number comes from the tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from core.figures import numbers as n
from core.figures.roc import FEW

FPRS = {"tpr_01": ("1 %", 100), "tpr_001": ("0.1 %", 1000)}
"""Column prefix → the target FPR in words, and one over it."""


def auc_table(table: pd.DataFrame, sides: list[str]) -> pd.DataFrame:
    """AUC with interval per audit and the paired difference; and how far adaptive attackers are ahead of others."""
    rows = []
    for row in table.to_dict("records"):
        cells = {"attack": row["title"]}
        for side in sides:
            cells[f"AUC {side}"] = f"{n.auc(row[f'auc_{side}'])} {interval(row, 'auc', side)}"
        if len(sides) == 2:
            test = f"{change(row)}, {n.p_value(row['p_value'])}"
            cells["after − before"] = n.MISSING if pd.isna(row["difference"]) else test
            if table["gain_difference"].notna().any():
                cells["adaptive − non-adaptive"] = n.MISSING if pd.isna(row["gain_difference"]) else gain(row)
        rows.append(cells | _about(row))
    return pd.DataFrame(rows)


def tpr_table(table: pd.DataFrame, sides: list[str], prefix: str) -> pd.DataFrame:
    """TPR at one low FPR: counts with interval, whether n₀ resolves it, and certified counts."""
    rows = []
    for row in table.to_dict("records"):
        cells = {"attack": row["title"]}
        for side in sides:
            cells[f"TPR {side}"] = hits(row, prefix, side)
        cells["verdict"] = verdict(row, prefix)
        for side in sides:
            cells[f"certified {side}"] = certified(row, prefix, side)
        rows.append(cells | _about(row))
    return pd.DataFrame(rows)


def known(row: dict, name: str) -> Any:
    """A value of the first audit that ran the attack: some attacks exist only after the defence."""
    ran_before = "auc_after" not in row or pd.notna(row["auc_before"])
    return row[f"{name}_{'before' if ran_before else 'after'}"]


def _about(row: dict) -> dict[str, str]:
    members, others = known(row, "members"), known(row, "non_members")
    return {
        "members + non-members": f"{n.count(int(members))} + {n.count(int(others))}",
        "adaptive attacker": adaptive(row["adaptive"]),
    }


def interval(row: dict, name: str, side: str) -> str:
    """ "[.599, .669]", or nothing where the audit has no such number."""
    value = n.auc(*(row[f"{name}{end}_{side}"] for end in ("", "_low", "_high")))
    return value[value.find("[") :] if "[" in value else ""


def change(row: dict) -> str:
    """The paired difference with its interval."""
    return n.MISSING if pd.isna(row["difference"]) else _ends(row)


def gain(row: dict) -> str:
    """AUC of the adaptive attack minus that of this non-adaptive one, with its interval and p."""
    return f"{_ends(row, 'gain_')}, {n.p_value(row['gain_p_value'])}"


def _ends(row: dict, prefix: str = "") -> str:
    return "{} [{}, {}]".format(*(n.difference(row[f"{prefix}{name}"]) for name in ("difference", "low", "high")))


def adaptive(value: object) -> str:
    """Whether the attacker knows the defence; audits write it as words or as yes / no."""
    if isinstance(value, str):
        return value
    return "adaptive" if value else "non-adaptive"


def hits(row: dict, prefix: str, side: str) -> str:
    """ "5 / 500 = 1.0 % [0.3, 2.3]"."""
    found = row[f"{prefix}_true_positives_{side}"]
    if pd.isna(found):
        return n.MISSING
    share = n.accuracy(*(row[f"{prefix}{end}_{side}"] for end in ("", "_low", "_high")))
    return f"{n.count(int(found), int(row[f'members_{side}']))} = {share}"


def certified(row: dict, prefix: str, side: str) -> str:
    """The TPR at a threshold whose true FPR is at or under the target with 95 % confidence."""
    found = row[f"{prefix}_certified_true_positives_{side}"]
    if pd.isna(row[f"auc_{side}"]):
        return n.MISSING
    if pd.isna(found):
        return "cannot be certified"
    share = n.accuracy(*(row[f"{prefix}_certified{end}_{side}"] for end in ("", "_low", "_high")))
    allowed = int(row[f"{prefix}_certified_false_positives_{side}"])
    return f"{n.count(int(found), int(row[f'members_{side}']))} = {share}, at most {allowed} FP"


def verdict(row: dict, prefix: str) -> str:
    """Whether this many non-members resolve the target FPR."""
    resolved = bool(known(row, f"{prefix}_resolvable"))
    others = n.count(int(known(row, "non_members")))
    return f"{'resolved' if resolved else 'not resolvable'} with {others} non-members"


def findings(table: pd.DataFrame, chosen: str, sides: list[str]) -> list[str]:
    """What to notice, in sentences. `table` has an "all" row for `chosen`."""
    everyone = table[table["group"] == "all"]
    row = everyone[everyone["attack"] == chosen].iloc[0].to_dict()
    told = [_compared(row), _counted(everyone)] if len(sides) == 2 else [_alone(row)]
    told += [_left(everyone, sides[-1]), _resolution(row)]
    canaries = table[(table["group"] == "canaries") & (table["attack"] == chosen)]
    if len(canaries):
        told.append(_canaries(canaries.iloc[0].to_dict(), sides))
    if (everyone["adaptive"].map(adaptive) == "non-adaptive").any():
        told.append(
            "Attacks marked **non-adaptive** come from an attacker who does not know the defence; the adaptive ones "
            "measure what it holds."
        )
    return [sentence for sentence in told if sentence]


def _alone(row: dict) -> str:
    return f"**{row['title']}** reaches AUC {n.auc(row['auc_before'])} {interval(row, 'auc', 'before')}; .5 is chance."


def _compared(row: dict) -> str:
    was, now = n.auc(row["auc_before"]), n.auc(row["auc_after"])
    head = f"**{row['title']}**: AUC {was} → {now}"
    test = f"{change(row)}, {n.p_value(row['p_value'])}"
    if pd.notna(row["gain_difference"]):
        against = "" if pd.isna(row["difference"]) else f"Against the same attack before the defence: {test}. "
        return f"**{row['title']}**: AUC {now} after. {against}Adaptive minus this one: {gain(row)}."
    if pd.isna(row["difference"]):
        return f"{head}; it was not run on both models, so there is no paired test."
    if row["high"] < 0:
        return f"{head}. The paired interval excludes 0 ({test}): the defence weakened this attack."
    if row["low"] > 0:
        return f"{head}. The paired interval excludes 0 ({test}): this attack became **stronger**."
    return f"{head}. The paired interval includes 0 ({test}): the change may be chance."


def _counted(everyone: pd.DataFrame) -> str:
    """How many attacks the defence weakened; those it did not are named."""
    tested = everyone[everyone["difference"].notna() & everyone["auc_before"].notna()]  # none twice, as non-adaptive
    if len(tested) < 2:
        return ""
    lower = tested[tested["high"] < 0]
    stronger, unclear = tested[tested["low"] > 0], tested[(tested["low"] <= 0) & (tested["high"] >= 0)]
    told = f"Of {len(tested)} attacks, {len(lower)} became weaker by an interval that excludes 0"
    if len(unclear):
        told += f"; the change may be chance for {_names(unclear) if len(unclear) <= 4 else f'{len(unclear)} of them'}"
    if len(stronger):
        told += f"; {_names(stronger)} became **stronger**"
    return told + ". The tests are not independent and not corrected for their number."


def _left(everyone: pd.DataFrame, side: str) -> str:
    """Which attacks still beat chance on the last model, none twice, as non-adaptive."""
    blind = everyone["adaptive"].map(adaptive) == "non-adaptive"
    known = everyone[everyone[f"auc_{side}"].notna() & ~blind]
    above = known[known[f"auc_low_{side}"] > 0.5]
    where = "After the defence" if side == "after" else "On this model"
    if above.empty:
        return f"{where} no attack can be told from chance by its AUC: every interval reaches .5."
    still = "still " if side == "after" else ""
    how_many = "all" if len(above) == len(known) else f"{len(above)} of"
    return f"{where} {how_many} {len(known)} attacks {still}beat chance: their AUC intervals lie above .5."


def _resolution(row: dict) -> str:
    """What this many non-members cannot resolve."""
    others = int(known(row, "non_members"))
    missing = [prefix for prefix in FPRS if not known(row, f"{prefix}_resolvable")]
    if not missing:
        return f"With {n.count(others)} non-members, TPR is resolved at 1 % and at 0.1 % FPR."
    parts = []
    for prefix in missing:
        words, one_in = FPRS[prefix]
        room = others // one_in
        room_words = f"only {room} false positive{'s' * (room != 1)}" if room else "no false positive at all"
        parts.append(f"{words} FPR leaves room for {room_words} ({n.count(FEW * one_in)} non-members would resolve it)")
    return f"**Not resolvable with {n.count(others)} non-members**: {'; '.join(parts)}. Read no trend from those TPRs."


def _canaries(row: dict, sides: list[str]) -> str:
    scored = [side for side in sides if pd.notna(row[f"auc_{side}"])]
    values = " → ".join(f"{n.auc(row[f'auc_{side}'])} {interval(row, 'auc', side)}" for side in scored)
    members, others = n.count(int(known(row, "members"))), n.count(int(known(row, "non_members")))
    return (
        f"**Canaries** ({members} mislabelled members against {others} mislabelled non-members), {row['title']}: AUC "
        f"{values}. A wrong label cannot be learned from other records, only memorised: canaries show the worst case."
    )


def _names(rows: pd.DataFrame) -> str:
    return ", ".join(rows["title"])
