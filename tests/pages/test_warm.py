"""What the app imports at its start so that first visits need not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from core.store import Store

ROOT = Path(__file__).resolve().parent.parent.parent
CODE = """
import json, sys
from pages import warm
warm.engine = lambda: None  # Rewind and Load import torch behind the page, for what comes next
warm.warm()
warmed = set(sys.modules)
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("pages/main.py", default_timeout=60).run()
for name in ("critical_weights", "layer_risk", "rewind", "attacks", "trade_off", "model"):
    page.switch_page(f"{name}.py").run()
    assert not page.exception, (name, page.exception)
print(json.dumps([sorted(warmed), sorted(set(sys.modules) - warmed)]))
"""


def test_warmed_pages_import_next_to_nothing_and_wait_for_no_torch(finished_store: Store) -> None:
    told = {**os.environ, "REWINDLAB_STORE": str(finished_store.root)}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=told, capture_output=True, text=True, timeout=200, check=True
    )
    warmed, later = (set(names) for names in json.loads(done.stdout.splitlines()[-1]))
    assert (warmed | later) & {"torch", "torchvision", "sklearn"} == set()
    assert {"scipy.stats", "pages.attack_words", "core.figures.roc", "plotly.graph_objs.heatmap"} <= warmed
    assert "pages.overview" not in warmed  # a page's script is run, not imported
    assert {name for name in later if name.startswith(("core", "pages", "scipy", "plotly.graph_objs.layout"))} == set()


def test_the_engine_is_imported_behind_the_page() -> None:
    code = (
        "import sys, threading; from pages.warm import engine; engine(); engine(); print('torch' in sys.modules)\n"
        "(timer,) = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]\n"
        "timer.join(); print('core.stages' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "True True"]
