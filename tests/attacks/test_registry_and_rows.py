import json

import numpy as np
import pytest

from core.attacks import ATTACKS, Signals, compare, evaluate
from core.config import BadInput


def test_names_are_the_kinds():
    for name, attack in ATTACKS.items():
        assert attack().kind == name and attack.title and attack.__doc__
    assert next(iter(ATTACKS)) == "loss"


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
