"""How long the server takes to run each page of a finished experiment, in milliseconds; the first visit builds figures.

    REWINDLAB_STORE=runs python benchmarks/page_switch.py [--cold]

Prints per page the first visit and the median of the later ones, wall and processor time; beside a busy machine the
processor time is the one to read. --cold leaves out what the app does at its start (core.warm): what a first visit
costs without it. The browser's drawing comes on top.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the pages import core

PAGES = ("overview", "model", "critical_weights", "layer_risk", "rewind", "attacks", "trade_off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="visits of every page")
    parser.add_argument("--cold", action="store_true", help="without the app's start-up work")
    args = parser.parse_args()
    app = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=60)
    visits: dict[str, list[tuple[float, float]]] = {page: [] for page in PAGES}
    for _ in range(args.rounds):
        for page in PAGES:
            app.switch_page(f"{page}.py")
            wall, processor = time.perf_counter(), time.process_time()
            app.run()
            visits[page].append((1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)))
            assert not app.exception, app.exception
    print(f"{'':18}{'first visit':>20}{'later':>20}\n{'':18}" + 2 * f"{'wall':>10}{'processor':>10}")
    for page, (first, *later) in visits.items():
        median = [statistics.median(part) for part in zip(*later, strict=True)]
        print(f"{page:18}" + "".join(f"{value:10.0f}" for value in (*first, *median)))


if __name__ == "__main__":
    main()
