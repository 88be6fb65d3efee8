"""What an audit says beside its scores: how far it is, whose reference models there were, which variant ran."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from core.audit import ASSUMED_RECIPE, Audit, AuditConfig, audit
from core.progress import Cancelled
from tests.attacks.simulation import simulate, two_class


def audited(models: int = 8, members: int = 100, **given) -> Audit:
    """An audit of a simulated target with 200 records."""
    signals, _ = simulate(models=models, records=200, queries=given.pop("queries", 1), population=60)
    signals = replace(signals, reference_logits=np.stack([two_class(phi[:, 0]) for phi in signals.reference_phi]))
    about = {"member": np.arange(200) < members, "canary": np.zeros(200, bool), "label": signals.labels}
    records = pd.DataFrame({"record": np.arange(200), "source_row": np.arange(200), "clean_label": 0, **about})
    config = AuditConfig(**{"attacks": ("loss", "attack_p", "lira", "rmia")} | given.pop("config", {}))
    blind = simulate(models=models, records=200, seed=1)[0] if given.pop("blind", False) else None
    return audit(
        records=records,
        signals=signals,
        gradients=np.empty((200, 0)),
        regions=[],
        config=config,
        non_adaptive=blind,
        **given,
    )


def table(found: Audit) -> pd.DataFrame:
    return found.attacks[found.attacks["group"] == "all"].set_index("attack")


def test_every_attack_is_told_by_name_before_it_runs_and_may_be_the_last() -> None:
    told: list[tuple[int, int, str]] = []
    audited(blind=True, on_attack=lambda *now: told.append(now))
    names = ["Loss threshold", "Attack-P", "LiRA online (adaptive)", "RMIA online (adaptive)"]
    names += ["LiRA online (non-adaptive)", "RMIA online (non-adaptive)"]
    assert told == [(done, 6, name) for done, name in enumerate(names)]

    def stop(done: int, total: int, title: str) -> None:
        told.append((done, total, title))
        if done == 2:
            raise Cancelled

    told.clear()
    with pytest.raises(Cancelled):
        audited(on_attack=stop)
    assert len(told) == 3


@pytest.mark.parametrize(("given", "whose"), [({}, "adaptive"), ({"own_references": ASSUMED_RECIPE}, ASSUMED_RECIPE)])
def test_thresholds_from_references_say_whose_also_for_attacks_that_score_without_them(given: dict, whose: str) -> None:
    found = table(audited(blind=True, **given))
    assert found.loc["attack_p", "adaptive"] == found.loc["loss", "adaptive"] == "no references"
    blind = {f"{name}:non-adaptive": "reference models (non-adaptive)" for name in ("lira", "rmia")}
    own = dict.fromkeys(("loss", "attack_p", "lira", "rmia"), f"reference models ({whose})")
    assert found["threshold_from"].to_dict() == own | blind


def test_a_threshold_per_class_is_another_attack_and_says_so() -> None:
    plain, own = (table(audited(config={"class_conditional": each})).loc["loss"] for each in (False, True))
    assert (plain["title"], plain["chosen"]) == ("Loss threshold", "")
    assert (own["title"], own["chosen"]) == ("Loss threshold, per class", "compared per class")


def test_gamma_and_the_number_of_queries_are_told() -> None:
    one, three = (table(audited(queries=queries))["chosen"] for queries in (1, 3))
    assert (one["lira"], one["rmia"]) == ("references 8, variance shrunk", "references 8, γ 2")
    assert (three["lira"], three["rmia"]) == (
        "references 8, variance shrunk, queries 3",
        "references 8, γ 2, queries 3",
    )


def test_references_that_train_on_another_number_of_records_are_said_to() -> None:
    note = "references trained on 100 records, the target on {}"
    assert not table(audited(members=96))["chosen"].str.contains("trained on").any()
    for members in (80, 150):
        chosen = table(audited(members=members))["chosen"]
        assert chosen["lira"].endswith(note.format(members)) and chosen["rmia"].endswith(note.format(members))
        assert chosen["loss"] == ""
    # of how many records a model that somebody brings has seen, the audited members may be a part
    brought = table(audited(members=150, own_references=ASSUMED_RECIPE))["chosen"]
    assert not brought.str.contains("trained on").any()
