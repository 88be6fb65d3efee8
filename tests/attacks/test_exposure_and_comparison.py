import numpy as np
import pandas as pd
import pytest

from core.attacks import evaluate
from core.attacks.comparison import side_by_side
from core.attacks.exposure import most_exposed

BEFORE = pd.DataFrame(
    {
        "record": [0, 1, 2, 3, 4],
        "source_row": [10, 11, 12, 13, 14],
        "member": [True, True, True, False, False],
        "canary": [False, True, False, True, False],
        "label": [1, 2, 3, 4, 5],
        "clean_label": [1, 0, 3, 0, 5],
        "prediction": [1, 2, 3, 4, 0],
        "loss": [0.1, 0.2, 0.3, 0.4, 0.5],
        "score_loss": [-0.1, -0.1, np.nan, -0.4, -0.5],
    }
)
AFTER = BEFORE.assign(loss=BEFORE["loss"] + 1, score_loss=[-3, -2, -1, -0.5, -0.6], prediction=0)


def test_members_from_the_highest_score_with_ties_and_gaps():
    found = most_exposed(before=BEFORE, after=AFTER, attack="loss")
    assert found["record"].tolist() == [0, 1]  # record 2 has no score before
    assert found["rank"].tolist() == [1, 1] and found["tied"].tolist() == [2, 2]
    assert found["loss_after"].tolist() == pytest.approx([1.1, 1.2]) and found["clean_label"].tolist() == [1, 0]


def test_the_order_of_the_other_audit_and_the_other_groups():
    by_after = most_exposed(before=BEFORE, after=AFTER, attack="loss", when="after")
    assert by_after["record"].tolist() == [2, 1, 0] and by_after["rank"].tolist() == [1, 2, 3]
    assert most_exposed(before=BEFORE, after=None, attack="loss", who="canaries")["record"].tolist() == [1]
    others = most_exposed(before=BEFORE, after=None, attack="loss", who="non-members")
    assert others["record"].tolist() == [3, 4] and "loss_after" not in others


def test_the_audits_are_joined_by_record_not_by_place():
    found = most_exposed(before=BEFORE, after=AFTER.iloc[::-1], attack="loss")
    assert found["loss_after"].tolist() == pytest.approx([1.1, 1.2])


def test_an_attack_that_only_the_second_audit_ran():
    found = most_exposed(before=BEFORE.drop(columns="score_loss"), after=AFTER, attack="loss", when="after")
    assert found["record"].tolist() == [2, 1, 0] and found["score_before"].isna().all()


def _attacks(shift: float) -> pd.DataFrame:
    scores = np.arange(20.0)
    row = evaluate(scores=scores + shift * (np.arange(20) < 10), is_member=np.arange(20) < 10)
    name = {"title": "Loss", "adaptive": "yes"}
    return pd.DataFrame(
        [
            {"attack": "loss", "group": "all", **name, **row},
            {"attack": "loss", "group": "canaries", **name, **row},
            {"attack": "lira", "group": "all", "title": "LiRA", "adaptive": "no", "reason": "needs references"},
        ]
    )


def test_both_audits_in_one_row_with_their_test():
    test = {"attack": "loss", "group": "all", "difference": -0.5, "low": -0.6, "high": -0.4, "p_value": 0.01, "z": -9}
    table = side_by_side(before=_attacks(20), after=_attacks(0), tests=pd.DataFrame([test]))
    assert table[["attack", "group"]].to_numpy().tolist() == [["loss", "all"], ["loss", "canaries"], ["lira", "all"]]
    assert table["auc_before"].iloc[0] == 1 and table["auc_after"].iloc[0] == 0
    assert table["difference"].iloc[0] == -0.5 and table["difference"].iloc[1:].isna().all()
    # what nothing can certify is a missing number, not an object
    assert table["tpr_001_certified_before"].dtype == float and table["tpr_001_certified_before"].isna().all()
    assert table["reason_before"].iloc[2] == "needs references"


def test_attacks_that_only_the_second_audit_has_follow():
    extra = _attacks(0).iloc[:1].assign(attack="lira:non-adaptive", title="LiRA (non-adaptive)", chosen="references 4")
    table = side_by_side(before=_attacks(20), after=pd.concat([_attacks(0), extra]), tests=None)
    assert table["attack"].tolist() == ["loss", "loss", "lira", "lira:non-adaptive"]
    last = table.iloc[-1]
    assert last["title"] == "LiRA (non-adaptive)" and np.isnan(last["auc_before"]) and last["auc_after"] == 0
    assert last["chosen_after"] == "references 4"


def test_one_audit_alone_has_no_differences():
    table = side_by_side(before=_attacks(20), after=None, tests=None)
    assert "auc_before" in table and not [c for c in table if c.endswith("_after") or c == "difference"]
