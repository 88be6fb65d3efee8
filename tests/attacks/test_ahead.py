"""What will be left out is known beforehand, in the very words of the audit."""

from __future__ import annotations

import pandas as pd
import pytest

from core.attacks import ATTACKS
from core.attacks.ahead import expected_signals
from core.experiment import parse, plan, run
from core.store import Store
from tests.conftest import SMALL

PLENTY = {"population": 60, "models": 4, "queries": 2, "gradients": True, "epochs": 3}


def left_out(**change) -> dict[str, str]:
    seen = expected_signals(**PLENTY | change)
    return {name: reason for name, kind in ATTACKS.items() if (reason := kind().is_compatible(seen))}


def test_with_everything_there_every_attack_runs():
    assert left_out() == {}
    assert left_out(models=4096) == {}


@pytest.mark.parametrize(
    ("change", "attacks", "remedy"),
    [
        ({"gradients": False}, {"gradient_norm"}, "raise audit.gradient_records"),
        ({"queries": 1}, {"label_only"}, "set Questions (audit.shadows.queries) to 2 or more"),
        ({"population": 0}, {"attack_p", "quantile"}, "keep some non-members aside in the split (data.population)"),
        ({"population": 49}, {"quantile"}, "raise data.population"),
        ({"epochs": 0}, {"trajectory"}, "for 2 epochs or more"),
        ({"epochs": 1}, {"trajectory"}, "for 2 epochs or more"),
        ({"models": 2}, {"lira", "lira_offline", "rapid"}, "raise audit.shadows.models to 4 or more"),
        (
            {"models": 0},
            {"lira", "lira_offline", "rmia", "rmia_offline", "attack_r", "calibration", "rapid", "shadow_nn"},
            "train reference models (audit.shadows.models)",
        ),
    ],
)
def test_what_is_missing_leaves_out_and_its_remedy_is_said(change, attacks, remedy):
    found = left_out(**change)
    assert found.keys() == attacks
    assert all(remedy in reason for reason in found.values())


def test_the_audit_leaves_out_the_same_for_the_same_reasons(tmp_path, monkeypatch):
    monkeypatch.setenv("REWINDLAB_WORKERS", "1")
    audit = {"attacks": list(ATTACKS), "gradient_records": 0, "shadows": {"models": 2}}
    store, e = Store(tmp_path), parse(SMALL | {"audit": audit, "defence": None, "train": {"epochs": 1}})
    run(e, store)
    attacks = pd.read_parquet(store.path(plan(e)["before"]) / "attacks.parquet")
    reasons = attacks.dropna(subset=["reason"]).set_index("attack")["reason"].to_dict()
    counted = {"models": 2, "queries": 1, "gradients": False, "epochs": 1}
    assert left_out(**counted) == reasons and len(reasons) == 6
