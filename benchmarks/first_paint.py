"""How long a person who opens an empty store waits, in seconds from the first paint: first results, whole demo.

    python benchmarks/first_paint.py

Starts the dashboard on an empty store and drives Chromium; needs the development requirements and Chromium.
"""

from __future__ import annotations

import tempfile
import time

from dashboard import dashboard


def main() -> None:
    with tempfile.TemporaryDirectory() as store, dashboard(store) as page:
        started = time.perf_counter()
        for what, text in (("first results", "Members are learned better"), ("demo", "What to look at next")):
            page.get_by_text(text).wait_for(timeout=300_000)
            print(f"{what}: {time.perf_counter() - started:.0f} s after the first paint", flush=True)


if __name__ == "__main__":
    main()
