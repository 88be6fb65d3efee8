"""Shared by the tests of pages: a store with four tiny experiments whose audits differ in what applied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from core.experiment import Experiment, parse, run
from core.store import Store
from tests.conftest import ROOT, TINY

AUDITED = {
    # the first attack needs several queries; the second runs with adaptive and with non-adaptive references
    "first missing": {
        "audit": {"attacks": ["label_only", "rmia", "loss"], "gradient_records": 0, "shadows": {"models": 2}}
    },
    "no attack": {"audit": {"attacks": ["gradient_norm"], "gradient_records": 0}},
    "no defence": {"defence": None},
    "replaced outputs": {"defence": {"finetune": {"epochs": 1, "objective": {"kind": "hamp", "test_time": True}}}},
}
"""Name → how the experiment differs from TINY."""


@pytest.fixture(scope="session")
def audits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Experiment]]:
    """A store with the experiments of AUDITED finished. Do not write into this store."""
    store, found = Store(tmp_path_factory.mktemp("audited")), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REWINDLAB_WORKERS", "1")
        for name, change in AUDITED.items():
            found[name] = parse(TINY | change)
            run(found[name], store)
    return store, found


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens a page (its file's name) of a store on one experiment."""

    def show(store: Path, key: str, page: str = "overview.py") -> AppTest:
        monkeypatch.setenv("REWINDLAB_STORE", str(store))
        streamlit.cache_resource.clear()
        app = AppTest.from_file(str(ROOT / "pages/main.py"), default_timeout=60)
        app.query_params["experiment"] = key
        app.run()
        if page != "overview.py":
            app.switch_page(page).run()
        return app

    yield show
    streamlit.cache_resource.clear()


def unfold(app: AppTest, *labels: str) -> AppTest:
    """Open the folded parts whose labels begin so: they are drawn only then."""
    for label in labels:
        (found,) = {folded.key for folded in app.expander if folded.label.startswith(label)}
        app.session_state[found] = True
        app.run()
    return app


def said(app: AppTest) -> str:
    """Everything the page says in words."""
    main = app.main
    return "\n".join(m.value for m in [*main.markdown, *main.caption, *main.info, *main.warning, *main.error])
