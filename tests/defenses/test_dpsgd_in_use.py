"""DP-SGD through whole experiments: what its guarantee covers, and where it is told."""

from __future__ import annotations

import pytest

from core.config import BadInput
from core.experiment import parse, plan, run, summary
from core.report import sweep_text, text
from core.store import Store, read_json
from core.sweeps.results import results
from core.sweeps.sweep import points
from tests.conftest import TINY


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


OUT_OF_REACH = {"kind": "dpsgd", "target_epsilon": 1e-6, "delta": 1e-9, "accountant": "rdp"}
SMALL_BATCHES = {"epochs": 2, "batch_size": 20}


@pytest.mark.parametrize(
    "change",
    [
        {"train": SMALL_BATCHES | {"objective": OUT_OF_REACH}},
        {"train": SMALL_BATCHES, "defence": {"kind": "cwrf", "finetune": {"epochs": 1, "objective": OUT_OF_REACH}}},
    ],
    ids=["training", "fine-tuning"],
)
def test_a_target_out_of_reach_is_refused_before_anything_is_trained(tmp_path, change):
    store = Store(tmp_path)
    with pytest.raises(BadInput, match=r"no noise up to sigma 1000 reaches target_epsilon 1e-06 .* raise target"):
        run(parse(TINY | change), store)
    assert not list(store.root.glob("*-*"))
