import json

import numpy as np
import pandas as pd
import pytest

from core.attacks import ATTACKS, Signals, compare, evaluate
from core.attacks.base import REMEDIES
from core.attacks.exposure import most_exposed
from core.audit import AuditConfig, audit
from core.config import BadInput
from tests.attacks.simulation import simulate


def test_names_are_the_kinds():
    for name, attack in ATTACKS.items():
        assert attack().kind == name and attack.title and attack.__doc__
    assert next(iter(ATTACKS)) == "loss"


def test_every_signal_that_an_attack_needs_has_a_remedy():
    assert set().union(*(attack.needs for attack in ATTACKS.values())) == REMEDIES.keys()
    bare = Signals(np.zeros((3, 2), np.float32), np.zeros(3, int))
    for attack in ATTACKS.values():
        reason = attack().is_compatible(bare)
        assert bool(reason) == bool(attack.needs)
        if reason:
            assert any(reason.endswith(REMEDIES[name]) for name in attack.needs)


def test_records_have_the_calibrated_score_of_rmia_which_follows_gamma():
    signals, member = simulate(models=4, records=400, population=100)
    about = {"member": member, "canary": np.zeros(400, bool), "label": signals.labels}
    records = pd.DataFrame({"record": np.arange(400), "source_row": np.arange(400), "clean_label": 0, **about})
    tables = {}
    for gamma in (1.0, 2.0):
        config = AuditConfig(attacks=("loss", "rmia", "rmia_offline"), rmia_gamma=gamma)
        found = audit(records=records, signals=signals, gradients=np.empty((400, 0)), regions=[], config=config)
        tables[gamma] = found.records
        chosen = found.attacks.set_index("attack")["chosen"]
        told = f"references 4, γ {gamma:g}"
        assert chosen["rmia"].startswith(told) and chosen["rmia_offline"].startswith(f"{told}, a ")
    for name in ("rmia", "rmia_offline"):
        one, two = (tables[gamma][f"calibrated_{name}"] for gamma in (1.0, 2.0))
        assert one.between(0, 1).all() and (two <= one).all() and two.mean() < one.mean()
        assert tables[1.0][f"score_{name}"].equals(tables[2.0][f"score_{name}"])
        top = most_exposed(before=tables[2.0], after=None, attack=name)
        assert top["calibrated_before"].is_monotonic_decreasing
    assert "calibrated_loss" not in tables[1.0]
    assert "calibrated_before" not in most_exposed(before=tables[2.0], after=None, attack="loss")


def test_gradient_norm_prefers_short_gradients():
    signals = Signals(np.zeros((3, 2), np.float32), np.zeros(3, int), gradient_norms=np.array([1.0, 0.0, 5.0]))
    assert ATTACKS["gradient_norm"]().is_compatible(signals) is None
    assert ATTACKS["gradient_norm"]()(signals).tolist() == [-1, 0, -5]
    blind = Signals(np.zeros((3, 2), np.float32), np.zeros(3, int))
    assert "gradient norms" in ATTACKS["gradient_norm"]().is_compatible(blind)


def test_a_row_by_hand():
    # 400 non-members 0…399; members: three above all, two at 397.5 (two non-members above), the rest below
    scores = np.concatenate([np.arange(400.0), [500, 501, 502, 397.5, 397.5], -np.ones(5)])
    row = evaluate(scores=scores, is_member=np.arange(410) >= 400)
    assert (row["members"], row["non_members"]) == (10, 400)
    assert row["auc"] == pytest.approx((3 * 400 + 2 * 398) / 4000)
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    assert (row["tpr_01"], row["tpr_01_true_positives"], row["tpr_01_false_positives"]) == (0.5, 5, 4)
    assert (row["tpr_001"], row["tpr_001_true_positives"], row["tpr_001_false_positives"]) == (0.3, 3, 0)
    assert not row["tpr_01_resolvable"] and not row["tpr_001_resolvable"]
    # at 1 % of 400 the 95 % bound lets none pass: .99^400 = .018; at .1 % nothing can be certified
    assert (row["tpr_01_certified"], row["tpr_01_certified_false_positives"]) == (0.3, 0)
    assert row["tpr_001_certified"] is None and row["tpr_001_certified_false_positives"] is None


def test_a_row_is_plain_json():
    generator = np.random.default_rng(0)
    row = evaluate(scores=generator.normal(size=100).astype(np.float32), is_member=np.arange(100) < 50)
    assert json.loads(json.dumps(row)) == row
    two = generator.normal(size=(2, 100))
    found = compare(before_scores=two[0], after_scores=two[1], is_member=np.arange(100) < 50)
    assert json.loads(json.dumps(found)) == found
    assert set(found) == {"difference", "low", "high", "p_value", "z"}


def test_a_diverged_model_is_named():
    with pytest.raises(BadInput, match="not a number"):
        evaluate(scores=np.array([np.nan, 1.0]), is_member=np.array([True, False]))
