"""The Rewind page: kinds of defence, rival rules, what it refuses, and the onion panel."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.experiment import parse, run
from core.store import Store
from tests.conftest import ROOT, SMALL


def _open() -> AppTest:
    at = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=30).run()
    return at.switch_page("rewind.py").run()


def _box(page: AppTest, label: str):
    return next(box for box in page.selectbox if box.label == label)


@pytest.fixture
def started(monkeypatch):
    """Experiments that the page would start as jobs."""
    from pages import frame

    found = []
    monkeypatch.setattr(frame, "start", lambda experiment: found.append(experiment))
    return found


def test_the_finished_rewind_shows_its_outcome(finished_store: Store) -> None:
    page = _open()
    assert not page.exception
    assert any("paired DeLong" in m.value for m in page.markdown)
    assert any("Did the risk move?" in s.value for s in page.subheader)


def test_other_defences_have_their_own_form_and_button(finished_store: Store, started) -> None:
    page = _open()
    kind = next(group for group in page.get("button_group") if group.label == "What to do")
    kind.set_value("scratch").run()
    assert not page.exception
    button = next(b for b in page.button if b.label == "Train from scratch")
    button.click().run()
    assert [e.defence.kind for e in started] == ["scratch"]


def test_a_rival_rule_is_ranked_at_once(finished_store: Store, started) -> None:
    page = _open()
    _box(page, "Selection").set_value("random").run()
    assert not page.exception
    assert any("would be rewound" in m.value for m in page.markdown)
    next(b for b in page.button if b.label == "Rewind and fine-tune").click().run()
    assert [e.defence.selection for e in started] == ["random"]


def test_the_onion_panel(monkeypatch, tmp_path) -> None:
    import streamlit

    store = Store(tmp_path)
    experiment = parse(SMALL | {"onion": True})
    run(experiment, store)
    monkeypatch.setenv("REWINDLAB_STORE", str(store.root))
    streamlit.cache_resource.clear()
    page = _open()
    assert not page.exception
    assert any("Scored again, they carry" in m.value for m in page.markdown)
    streamlit.cache_resource.clear()
