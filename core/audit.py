"""The audit of one model: attack scores per record, their statistics, and what a page shows of them. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from core.attacks.shadows import ShadowConfig
from core.config import BadInput, Config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from core.attacks import Attack, Signals

# Attacks and metrics are imported where they are used: pages import this module for its config alone, and SciPy
# would be half of their start.

AttackName = Literal[
    "loss",
    "confidence",
    "mentr",
    "entropy",
    "top1",
    "correctness",
    "gradient_norm",
    "lira",
    "lira_offline",
    "rmia",
    "rmia_offline",
    "attack_r",
    "attack_p",
    "calibration",
    "rapid",
    "shadow_nn",
    "quantile",
    "label_only",
    "trajectory",
]
ADAPTIVE, ASSUMED_RECIPE = "adaptive", "assumed recipe"
"""Reference models of the target's own pipeline; of a recipe that is only assumed, as for weights somebody brings."""
NON_ADAPTIVE = "non-adaptive"
"""Ends the name of an attack whose reference models were trained without the defence."""
NO_REFERENCES = "no references"
"""Of an attack that scores by nothing but the target: there is no adaptive version of it. Its thresholds may still be
chosen on reference models."""
REFERENCES = {"reference_phi", "reference_logits"}
"""Signals that come from reference models."""


class AuditConfig(Config):
    """Which membership inference attacks are run against the models."""

    attacks: tuple[AttackName, ...] = Field(
        (
            "loss",
            "mentr",
            "entropy",
            "top1",
            "correctness",
            "gradient_norm",
            "attack_p",
            "lira",
            "lira_offline",
            "rmia",
            "rmia_offline",
            "attack_r",
            "calibration",
        ),
        min_length=1,
    )
    """Attacks, the first is the headline of figures and tables. Those that need reference models run where
    shadows.models is not 0."""
    shadows: ShadowConfig = ShadowConfig()
    """Reference models of the attacks that need them."""
    lira_variance: Literal["auto", "per_example", "pooled", "shrunk"] = "auto"
    """Whose spread of outputs LiRA uses: each record's own (needs 64 references), one for all, or a mix of both."""
    rmia_gamma: float = Field(2.0, ge=1, le=1000)
    """γ of RMIA: how many times likelier than a population record a record must be to win against it. It moves the
    calibrated score, the share of such wins, and no AUC: the ranking is the same for every γ."""
    rmia_a: float | None = Field(None, ge=0, le=1)
    """a of offline RMIA: how far members raise a record's probability; empty: tuned on the references."""
    shadow_nn_inputs: Literal["posteriors", "top3", "posteriors_label"] = Field(
        "posteriors_label", title="Shadow network inputs"
    )
    """What the shadow network sees: all posteriors, the three highest, or all with the label."""
    class_conditional: bool = False
    """Threshold attacks compare a record with known non-members (the population set) of its own class."""
    gradient_records: int = Field(1000, ge=0, le=1_000_000)
    """Members, and as many non-members, whose loss gradients are computed (white-box attack and layer risk); 0: none.
    The cost is that of one backward pass per record."""


@dataclass(frozen=True)
class Audit:
    """Tables of one audit."""

    records: pd.DataFrame
    """One row per audited record: member, canary, label, prediction, loss, phi, one score_* column per attack and,
    of attacks that have one (RMIA), calibrated_*."""
    attacks: pd.DataFrame
    """One row per attack and group ("all", "canaries"): the columns of `core.attacks.evaluate`, or `reason`; canaries
    also have their exposure."""
    curves: pd.DataFrame
    """Thinned ROC curves: attack, fpr, tpr."""
    risk: pd.DataFrame
    """One row per region: auc of −‖∂l/∂θ_region‖ with its interval and counts."""
    metrics: dict
    """train_/test_ accuracy (with _low, _high) and loss, counts; test_calibration_error (with _low, _high)."""


def audit(
    *,
    records: pd.DataFrame,
    signals: Signals,
    gradients: np.ndarray,
    regions: list[str],
    config: AuditConfig,
    non_adaptive: Signals | None = None,
    own_references: str = ADAPTIVE,
    on_attack: Callable[[int, int, str], None] = lambda done, total, title: None,
) -> Audit:
    """Run the attacks of `config` on one target.

    records: row per audited record with member (bool), canary (bool), label. signals: same order, references of the
    target's own pipeline. gradients [N, R]: per-region gradient norms, nan where not computed. non_adaptive: the same
    signals with references that lack the target's defence; attacks that use references are then run on both.
    own_references: how results with the references in `signals` are labelled. on_attack(done, of how many, title) is
    called before each attack and may raise to stop.
    Attacks are scored on the records that have a score.
    """
    from core.metrics import roc, table, thin

    member, canary = records["member"].to_numpy(bool), records["canary"].to_numpy(bool)
    loss = np.logaddexp(0.0, -signals.phi.astype(np.float64))
    records = records.assign(prediction=signals.logits.argmax(1), loss=loss, phi=signals.phi)
    rows: list[dict[str, Any]] = []
    curves = []
    runs = [(name, attack, signals) for name, attack in attacks_of(config).items()]
    if non_adaptive:
        runs += [
            (f"{name}:{NON_ADAPTIVE}", attack, non_adaptive)
            for name, attack, _ in runs
            if attack.looks_at_references(non_adaptive)
        ]
    for done, (name, attack, seen) in enumerate(runs):
        referred = attack.looks_at_references(seen)
        whose = NON_ADAPTIVE if seen is non_adaptive else own_references
        adaptive = whose if referred else NO_REFERENCES
        title = titled(attack, whose) if referred else attack.named
        on_attack(done, len(runs), title)
        row: dict[str, Any] = {"attack": name, "title": title, "adaptive": adaptive, "group": "all"}
        reason = attack.is_compatible(seen)
        if reason:
            rows.append({**row, "reason": reason})
            continue
        scores = np.asarray(attack(seen), np.float64)
        # how many records weights that were brought have seen is not known: members may be a sample of them
        here = referred and own_references != ASSUMED_RECIPE
        row["chosen"] = _told(attack, seen, member if here else None)
        records[f"score_{name}"] = scores
        if (calibrated := attack.calibrated(seen)) is not None:
            records[f"calibrated_{name}"] = calibrated
        rows += [row | found for found in _groups(attack, seen, scores, member, canary, whose)]
        known = np.isfinite(scores)
        curve = table(thin(roc(scores=scores[known], is_member=member[known])))
        curves.append(curve.assign(attack=name))
    return Audit(
        records=records,
        attacks=_with_auc(pd.DataFrame(rows)),
        curves=pd.concat(curves, ignore_index=True) if curves else pd.DataFrame({"fpr": [], "tpr": [], "attack": []}),
        risk=region_risk(gradients=gradients, is_member=member, regions=regions),
        metrics=accuracy(records) | calibration(records, signals.logits),
    )


def attacks_of(config: AuditConfig) -> dict[str, Attack]:
    """The attacks that an audit runs, by name, with its parameters."""
    from core.attacks import ATTACKS

    return {name: ATTACKS[name](**_parameters(ATTACKS[name], config)) for name in config.attacks}


def reference_logits(config: AuditConfig) -> int | None:
    """Of how many reference models an audit looks at the logits, which are most of what is kept of them; None: all."""
    from core.attacks import reference_logits_asked

    asked = [reference_logits_asked(attack) for attack in attacks_of(config).values()]
    return None if None in asked else max(count for count in asked if count is not None)


def titled(attack: Attack | type[Attack], whose: str) -> str:
    """An attack on reference models as tables call it: whose models they are stands behind its name."""
    return f"{attack.title} ({whose})"


def _told(attack: Attack, seen: Signals, member: np.ndarray | None) -> str:
    """What the attack decided or was given, in words. member [N]: where references train on what the target may not."""
    from core.attacks.design import unequal
    from core.figures import numbers as n

    chosen = attack.chosen(seen).items()
    parts = [f"{what} {n.plain(value) if isinstance(value, float) else value}" for what, value in chosen]
    if member is not None and seen.reference_in is not None:
        trained_on = round(float(seen.reference_in.sum(axis=1).mean()))
        parts += [note] if (note := unequal(references=trained_on, target=int(member.sum()))) else []
    return ", ".join(parts)


def _groups(
    attack: Attack, seen: Signals, scores: np.ndarray, member: np.ndarray, canary: np.ndarray, whose: str
) -> list[dict[str, Any]]:
    """What the attack achieved on all records and on the canaries, where there are members and non-members.

    whose: the reference models in `seen`, on which thresholds are chosen where that can be done.
    """
    from core.attacks import evaluate, shadow_scores
    from core.attacks.evaluate import exposure_columns

    shadow, found = shadow_scores(attack, seen), []
    for group, asked in {"all": np.ones(len(member), bool), "canaries": canary}.items():
        chosen = asked & np.isfinite(scores)
        if not (chosen & member).any() or not (chosen & ~member).any():
            continue
        part = {"scores": scores[chosen], "is_member": member[chosen]}
        known = shadow and (shadow[0][:, chosen].ravel(), shadow[1][:, chosen].ravel())
        row = {"group": group, **evaluate(**part, known=known, source=f"reference models ({whose})")}
        found.append(row | exposure_columns(**part) if group == "canaries" else row)
    return found


def _parameters(kind: type[Attack], config: AuditConfig) -> dict[str, Any]:
    """The fields of the audit's config that belong to an attack."""
    offered = {
        "class_conditional": config.class_conditional,
        "variance": config.lira_variance,
        "gamma": config.rmia_gamma,
        "inputs": config.shadow_nn_inputs,
        "a": config.rmia_a,
    }
    return {name: value for name, value in offered.items() if name in kind.model_fields}


def _with_auc(attacks: pd.DataFrame) -> pd.DataFrame:
    """The column auc also where no attack applied."""
    return attacks if "auc" in attacks else attacks.assign(auc=np.nan)


def region_risk(*, gradients: np.ndarray, is_member: np.ndarray, regions: list[str]) -> pd.DataFrame:
    """AUC of the negated gradient norm of each region, DeLong interval; empty where no gradients were computed.

    Columns: region, auc, low, high, members, non_members.
    """
    from core.metrics import auc

    rows = []
    for region, norms in zip(regions, gradients.T, strict=True):
        known = np.isfinite(norms)
        if (known & is_member).any() and (known & ~is_member).any():
            area = auc(scores=-norms[known], is_member=is_member[known])
            counts = {"members": int((known & is_member).sum()), "non_members": int((known & ~is_member).sum())}
            rows.append({"region": region, "auc": area.value, "low": area.low, "high": area.high, **counts})
    return pd.DataFrame(rows, columns=["region", "auc", "low", "high", "members", "non_members"])


def accuracy(records: pd.DataFrame) -> dict:
    """Accuracy (fraction, Clopper–Pearson interval) and mean loss (nats) on members ("train") and non-members."""
    from core.metrics import clopper_pearson

    out: dict = {}
    for name, part in (("train", records[records["member"]]), ("test", records[~records["member"]])):
        correct = int((part["prediction"] == part["label"]).sum())
        found = clopper_pearson(correct, len(part))
        out |= {f"{name}_accuracy": found.value, f"{name}_accuracy_low": found.low, f"{name}_accuracy_high": found.high}
        out |= {f"{name}_loss": float(part["loss"].mean()), f"{name}_records": len(part)}
    return out


def calibration(records: pd.DataFrame, logits: np.ndarray) -> dict:
    """Expected calibration error on non-members, a fraction with its interval, of the outputs as they are released."""
    from scipy.special import softmax

    from core.metrics import calibration_error

    part = (~records["member"]).to_numpy()
    if not part.any():
        return {}
    correct = (records["prediction"] == records["label"]).to_numpy()
    found = calibration_error(confidence=softmax(logits[part], axis=1).max(1), correct=correct[part])
    name = "test_calibration_error"
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def paired(before: pd.DataFrame, after: pd.DataFrame, attacks: list[str]) -> pd.DataFrame:
    """Paired DeLong test of every attack scored in both audits, on the records scored in both.

    A non-adaptive attack, which only a defended model has, is tested against the same attack before.
    Columns: attack, difference (AUC after − before), low, high, p_value, z.
    """
    if not before["record"].equals(after["record"]):
        raise BadInput("the two audits are not on the same records, they cannot be compared pairwise")
    pairs = {name: (before.get(f"score_{_plain(name)}"), after.get(f"score_{name}")) for name in attacks}
    return _tests(pairs, before["member"].to_numpy(bool))


def adaptive_advantage(after: pd.DataFrame, attacks: list[str]) -> pd.DataFrame:
    """Paired DeLong test of the adaptive attack against each non-adaptive one of `attacks`, on one defended model.

    Columns: attack (the non-adaptive one), difference (AUC adaptive − non-adaptive), low, high, p_value, z.
    """
    names = [name for name in attacks if name != _plain(name)]
    pairs = {name: (after.get(f"score_{name}"), after.get(f"score_{_plain(name)}")) for name in names}
    return _tests(pairs, after["member"].to_numpy(bool))


def _plain(name: str) -> str:
    """The adaptive attack of the same kind."""
    return name.removesuffix(f":{NON_ADAPTIVE}")


def _tests(pairs: Mapping[str, tuple[pd.Series | None, pd.Series | None]], member: np.ndarray) -> pd.DataFrame:
    """Second minus first where both are there."""
    from core.attacks import compare

    rows = []
    for name, (first, second) in pairs.items():
        if first is not None and second is not None:
            a, b = first.to_numpy(float), second.to_numpy(float)
            known = np.isfinite(a) & np.isfinite(b)
            test = compare(before_scores=a[known], after_scores=b[known], is_member=member[known])
            rows.append({"attack": name, **test})
    return pd.DataFrame(rows, columns=["attack", "difference", "low", "high", "p_value", "z"])
