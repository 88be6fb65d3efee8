"""How long the server takes to run each page of a finished experiment, in milliseconds; the first visit builds figures.

    REWINDLAB_STORE=runs python benchmarks/page_switch.py

Prints one line per round over all pages. The browser's drawing comes on top.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the pages import core

PAGES = ("overview", "model", "critical_weights", "layer_risk", "rewind", "attacks")


def main(rounds: int = 4) -> None:
    app = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=60).run()
    for number in range(rounds):
        took = []
        for page in PAGES:
            app.switch_page(f"{page}.py")
            started = time.perf_counter()
            app.run()
            assert not app.exception, app.exception
            took.append(f"{page} {1000 * (time.perf_counter() - started):.0f}")
        print("first visit" if number == 0 else f"visit {number + 1}", *took, sep="  ")


if __name__ == "__main__":
    main()
