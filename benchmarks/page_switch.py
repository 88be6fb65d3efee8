"""How long the server takes to run each page of a finished experiment, in milliseconds; the first visit builds figures.

    REWINDLAB_STORE=runs python benchmarks/page_switch.py [--experiment HASH] [--cold]

Prints for each page the first visit and the median of the later ones, wall and processor time; on a busy machine the
processor time is the one to read. --cold leaves out the imports that the app makes at its start (pages/warm.py): then
first visits pay for them. The browser's drawing comes on top.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the pages import core

PAGES = ("overview", "model", "critical_weights", "layer_risk", "rewind", "attacks", "trade_off")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=6, help="visits of every page")
    parser.add_argument("--cold", action="store_true", help="without the imports at the app's start")
    parser.add_argument("--experiment", help="hash; default: the newest of the store")
    args = parser.parse_args()
    print(f"{'':20}{'first visit':>20}{'later':>20}\n{'':20}" + 2 * f"{'wall':>10}{'processor':>10}")
    if not args.cold:
        from pages.warm import warm

        show("at the app's start", timed(warm))
    app = AppTest.from_file(str(ROOT / "pages" / "main.py"), default_timeout=60)
    if args.experiment:
        app.query_params["experiment"] = args.experiment
    visits: dict[str, list[tuple[float, float]]] = {page: [] for page in PAGES}
    for _ in range(args.rounds):
        for page in PAGES:
            app.switch_page(f"{page}.py")
            visits[page].append(timed(app.run))
            assert not app.exception, app.exception
    for page, (first, *later) in visits.items():
        show(page, first, *(statistics.median(part) for part in zip(*later, strict=True)))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time, of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - processor)


def show(what: str, first: tuple[float, float], *later: float) -> None:
    print(f"{what:20}" + "".join(f"{value:10.0f}" for value in (*first, *later)))


if __name__ == "__main__":
    main()
