"""The page of the layer risk on a small finished experiment."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from core.experiment import Experiment, run
from core.store import Store
from tests.pages.conftest import unfold

ROOT = Path(__file__).resolve().parent.parent.parent


def _open() -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30).run()
    return at.switch_page("layer_risk.py").run()


def _number(page: AppTest, label: str) -> str:
    return next(m.value for m in page.metric if m.label.startswith(label))


def _layers(store: Store) -> pd.DataFrame:
    return pd.read_parquet(next(store.root.glob("scores-*")) / "layers.parquet")


def test_regions_in_forward_order_with_their_intervals(finished_store: Store) -> None:
    page = _open()
    assert not page.exception
    assert [box.label.split("**")[1] for box in page.checkbox] == ["block 1", "block 2", "head"]
    assert all("AUC ." in box.label and "[." in box.label for box in page.checkbox)
    assert len(page.get("plotly_chart")) == 2
    captions = " ".join(caption.value for caption in page.caption)
    assert "120 members and 100 non-members" in captions
    assert "needs no reference models" in captions
    table = unfold(page, "Numbers per region").dataframe[0].value
    assert {"AUC before", "AUC after"} <= set(table.columns)


def test_ticked_regions_are_the_scope(finished_store: Store) -> None:
    page = _open()
    weights = _layers(finished_store).groupby("region")["count"].sum()
    assert _number(page, "Weights rewound").replace("\u00a0", "") == str(round(0.05 * weights.sum()))

    page.checkbox[1].check().run()
    page.checkbox[0].check().run()
    assert page.session_state["regions"] == ["block 1", "block 2"]
    scope = weights["block 1"] + weights["block 2"]
    assert _number(page, "Weights rewound").replace("\u00a0", "") == str(round(0.05 * scope))

    page.switch_page("critical_weights.py").run()
    page.switch_page("layer_risk.py").run()
    assert [box.value for box in page.checkbox] == [True, True, False]

    page.checkbox[2].check().run()
    assert page.session_state["regions"] == []
    assert _number(page, "Weights rewound").replace("\u00a0", "") == str(round(0.05 * weights.sum()))


def test_fraction_is_the_shared_one(finished_store: Store) -> None:
    page = _open()
    page.select_slider[0].set_value(0.2).run()
    assert page.session_state["fraction"] == 0.2
    page.switch_page("critical_weights.py").run()
    assert page.select_slider[0].value == 0.2


def test_regions_of_another_network_are_ignored(finished_store: Store) -> None:
    page = _open()
    page.session_state["regions"] = ["stage 4", "head"]
    page.switch_page("critical_weights.py").run()
    page.switch_page("layer_risk.py").run()
    assert not page.exception
    assert [box.value for box in page.checkbox] == [False, False, True]


def test_without_gradients_it_says_how_to_get_them(
    finished: tuple[Store, Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a copy of the finished store: only the audit is computed again."""
    import shutil

    store, experiment = finished
    copy = tmp_path / "store"
    shutil.copytree(store.root, copy)
    audit = experiment.audit.model_copy(update={"gradient_records": 0})
    other = experiment.model_copy(update={"audit": audit, "defence": None})
    run(other, Store(copy))
    monkeypatch.setenv("REWINDLAB_STORE", str(copy))
    streamlit.cache_resource.clear()
    try:
        page = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30)
        page.query_params["experiment"] = other.hash
        page.run()
        page.switch_page("layer_risk.py").run()
        assert not page.exception
        assert any("`audit.gradient_records` is 0" in info.value for info in page.info)
        assert any(button.label.startswith("Measure it") for button in page.button)
        assert not any("AUC" in box.label for box in page.checkbox)
        assert len(page.get("plotly_chart")) == 1
    finally:
        streamlit.cache_resource.clear()
