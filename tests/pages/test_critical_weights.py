"""The page of the critical weights on a small finished experiment."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from core.experiment import parse, run
from core.importance import statistics
from core.store import Store
from tests.pages.conftest import said, unfold

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def page(finished_store: Store) -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30).run()
    return at.switch_page("critical_weights.py").run()


def _number(page: AppTest, label: str) -> str:
    return next(m.value for m in page.metric if m.label.startswith(label))


def _weights(store: Store) -> int:
    import pandas as pd

    return int(pd.read_parquet(next(store.root.glob("scores-*")) / "layers.parquet")["count"].sum())


def test_shows_the_experiments_own_fraction_and_its_count(page: AppTest, finished_store: Store) -> None:
    assert not page.exception
    assert page.title[0].value == "Critical weights"
    assert page.select_slider[0].value == 0.05
    assert _number(page, "Critical weights") == str(round(0.05 * _weights(finished_store)))
    assert len(page.get("plotly_chart")) == 2  # only the open part is drawn


@pytest.mark.parametrize(("part", "figures"), [("Where they sit", 2), ("Learning and leaking", 1), ("One layer", 2)])
def test_every_part_has_its_figures(page: AppTest, part: str, figures: int) -> None:
    turn(page, part)
    assert not page.exception
    assert len(page.get("plotly_chart")) == figures


def turn(page: AppTest, part: str) -> None:
    """Open a part of the page."""
    page.session_state["weights"] = part
    page.run()


def test_slider_moves_counts_and_is_shared(page: AppTest, finished_store: Store) -> None:
    page.select_slider[0].set_value(0.5).run()
    assert not page.exception
    assert page.session_state["fraction"] == 0.5
    half = round(0.5 * _weights(finished_store))
    assert _number(page, "Critical weights").replace("\u00a0", "") == str(half)
    page.switch_page("layer_risk.py").run()
    page.switch_page("critical_weights.py").run()
    assert page.select_slider[0].value == 0.5


@pytest.mark.parametrize("given", [0.0333, 0.0301, 0.7])
def test_a_fraction_between_the_steps_is_kept(page: AppTest, finished_store: Store, given: float) -> None:
    """As another page or a config may set it; .0301 reads like the step .03 and takes its place."""
    page.session_state["fraction"] = given
    page.switch_page("layer_risk.py").run()
    page.switch_page("critical_weights.py").run()
    assert not page.exception
    assert page.select_slider[0].value == pytest.approx(given)
    options = page.select_slider[0].options
    assert len(options) == len(set(options))


def test_a_fraction_of_less_than_one_weight_is_said(page: AppTest) -> None:
    page.select_slider[0].set_value(0.0001).run()
    turn(page, "One layer")
    assert not page.exception
    assert _number(page, "Critical weights") == "0"
    assert any("less than one weight" in info.value for info in page.info)
    assert any("No weight of this layer is critical" in text.value for text in page.markdown)


def test_another_layer(page: AppTest) -> None:
    turn(page, "One layer")
    layer = next(box for box in page.selectbox if box.label == "Layer, in forward order")
    assert [option.split(" · ")[0] for option in layer.options][:2] == ["block1.conv.weight", "block1.norm.weight"]
    layer.set_value("block1.norm.weight").run()
    assert not page.exception
    assert len(page.get("plotly_chart")) == 2


def test_correlations_stand_beside_the_papers(page: AppTest) -> None:
    turn(page, "Learning and leaking")
    table = page.dataframe[0].value.set_index("weights")
    assert list(table.index) == ["conv", "norm", "linear", "attention+MLP", "all"]
    assert list(table["ResNet18 †"]) == [".941", ".678", ".810", "–", "≈ .83"]
    assert list(table["ViT †"]) == ["–", ".734", ".864", ".907", "≈ .77"]
    assert table.at["attention+MLP", "Pearson"] == "–"
    shown = table.at["all", "Pearson"]
    assert _number(page, "Pearson") == shown
    told = " ".join(text.value for text in page.markdown)
    assert re.search(rf"\*\*r = {re.escape(shown)}\*\*", told)
    assert any("other models and other data" in caption.value for caption in page.caption)


def test_a_sample_is_called_one(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    turn(page, "Learning and leaking")
    assert "a sample of" not in said(page) and "‡" not in "".join(page.dataframe[0].value["Spearman"])
    monkeypatch.setattr(statistics, "RANKED", 200)
    streamlit.cache_resource.clear()
    page.run()
    assert "Counted in a sample of 200 weights" in said(page) and "‡ Of a sample of 200 weights" in said(page)
    assert "sampled weights per cell" in page.get("plotly_chart")[0].proto.spec
    table = page.dataframe[0].value.set_index("weights")
    assert table.at["all", "Spearman"].endswith(" ‡") and "‡" not in table.at["norm", "Spearman"]


def test_formulas_are_folded_away(page: AppTest) -> None:
    folded = next(block for block in page.expander if "What learnability" in block.label)
    assert not folded.proto.expanded and not page.latex
    unfold(page, "What learnability")
    assert len(page.latex) == 2


def test_a_deep_network_is_shown_region_by_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "deep")
    run(
        parse(
            {
                "data": {"kind": "digits", "members": 60, "non_members": 40, "reference": 40, "population": 20},
                "model": {"kind": "vit", "dim": 8, "depth": 2, "heads": 2},
                "train": {"epochs": 1},
                "defence": None,
                "audit": {"attacks": ["loss"], "gradient_records": 0},
            }
        ),
        store,
    )
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    try:
        page = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30).run()
        page.switch_page("critical_weights.py").run()
        assert not page.exception
        choice = next(box for box in page.selectbox if box.label == "Region")
        assert choice.options == ["patch embedding", "encoder block 1", "encoder block 2", "head"]
        choice.set_value("encoder block 2").run()
        for part in ("Where they sit", "One layer", "Learning and leaking"):
            turn(page, part)
            assert not page.exception and page.get("plotly_chart")
        assert page.dataframe[0].value["weights"].iloc[-1] == "all"
        turn(page, "Where they sit")
        (layers,) = [box.label for box in page.expander if re.fullmatch(r"All \d+ layers", box.label)]
        unfold(page, layers)
        assert not page.exception
        drawn = [json.loads(chart.proto.spec) for chart in page.get("plotly_chart")]
        rows = [
            len(figure["layout"]["yaxis"]["ticktext"]) for figure in drawn if figure["data"][0]["type"] == "heatmap"
        ]
        assert rows == [4, int(layers.split()[1])]
        page.switch_page("layer_risk.py").run()
        assert not page.exception
    finally:
        streamlit.cache_resource.clear()
