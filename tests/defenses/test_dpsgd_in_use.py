"""DP-SGD through whole experiments: what its guarantee covers, and where it is told."""

from __future__ import annotations

import pytest

from core.experiment import plan, summary
from core.report import sweep_text, text
from core.store import read_json
from core.sweeps.results import results
from core.sweeps.sweep import points


def experiments(sweep) -> dict:
    return {point.label["method"]: point.experiment for point in points(sweep)}


@pytest.mark.parametrize(
    ("way", "stage", "covers"),
    [
        ("from scratch", "defended", "training"),
        ("fine-tuned", "defended", "fine-tuning"),
        ("CWRF", "defended", "fine-tuning"),
        ("no defence", "train", "training"),
    ],
)
def test_the_guarantee_says_what_it_covers(private, way, stage, covers):
    store, sweep = private
    e = experiments(sweep)[way]
    privacy = read_json(store.path(plan(e)[stage]) / "privacy.json")
    epochs = 1 if covers == "fine-tuning" else 2
    assert (privacy["covers"], privacy["steps"], privacy["delta"]) == (covers, 3 * epochs, 1 / 120)
    assert 18 < privacy["epsilon"] <= 20
    found = summary(store, e.hash)
    side, other = ("before", "after") if stage == "train" else ("after", "before")
    assert found[side]["privacy"] == privacy and (found[other] or {"privacy": None})["privacy"] is None
    (line,) = [line for line in text(found).splitlines() if line.startswith("DP-SGD")]
    assert line.startswith(f"DP-SGD, {side}: ε = ") and line.endswith(f"it covers the {covers}")


def test_in_a_sweep_only_guarantees_of_a_whole_training_are_numbers_of_the_axis(private):
    store, sweep = private
    rows = results(store, sweep).set_index("method")
    assert rows["dp_epsilon"].notna()[lambda known: known].index.tolist() == [
        "from scratch",
        "none, group norm, 3",
        "no defence",
    ]
    assert rows["tuning_epsilon"].notna()[lambda known: known].index.tolist() == ["fine-tuned", "CWRF"]
    # group norm is a baseline of its own
    assert [name for name in rows.index if name.startswith("none")] == [
        "none",
        "none, group norm",
        "none, group norm, 3",
    ]
    lines = {line.split("  ")[0]: line for line in sweep_text(results(store, sweep)).splitlines()[1:]}
    assert lines["fine-tuned"].endswith("δ = 0.008 (the fine-tuning alone)")
    assert lines["CWRF"].endswith("δ = 0.008 (the fine-tuning alone)")
    assert lines["from scratch"].endswith("δ = 0.008") and lines["no DP-SGD"].endswith("–")
