"""Pages of a network that somebody brought: what "initial" means without its own initial weights."""

from __future__ import annotations

import json

import pytest

from core.data import Dataset
from core.experiment import parse, plan, run
from core.store import Store
from tests.conftest import TINY
from tests.pages.conftest import said

NOTICE = "brought without its initial weights"


@pytest.fixture(scope="module")
def brought(tmp_path_factory) -> tuple[Store, dict[bool, str]]:
    """A store, and whether its own initial weights were given → hash of the brought network's experiment."""
    store = Store(tmp_path_factory.mktemp("brought"))
    value = TINY | {"data": TINY["data"] | {"label_noise": 0.0}}
    run(parse(value), store)
    stages = plan(parse(value))
    dataset, train = Dataset.read(store.path(stages["data"])), store.path(stages["train"])
    rows = store.root / "rows.json"
    rows.write_text(json.dumps({"members": dataset.row[dataset.splits["members"]].tolist()}))
    found = {}
    for own in (True, False):
        weights = {"trained": train / "final.safetensors", "initial": train / "initial.safetensors" if own else None}
        data = value["data"] | {"member_indices": rows}
        defence = {"base": "trained", "finetune": {"epochs": 1}}
        experiment = parse(value | {"data": data, "weights": weights, "defence": defence})
        run(experiment, store)
        found[own] = experiment.hash
    return store, found


@pytest.mark.parametrize("own", [True, False], ids=["own initial weights", "none"])
def test_a_random_start_is_said_wherever_it_matters(brought, own, open_page) -> None:
    store, keys = brought
    page = open_page(store.root, keys[own], "critical_weights.py")
    for other in ("layer_risk.py", "rewind.py", "critical_weights.py"):
        page.switch_page(other).run()
        assert not page.exception and (NOTICE in said(page)) != own
    page.session_state["weights"] = "One layer"
    page.run()
    assert not page.exception and ("Training moved" in said(page)) == own
    assert ("where it started" in said(page)) == own and "by size alone" in said(page)
