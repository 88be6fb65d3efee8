"""How long a person waits for each page of a finished experiment, in milliseconds from the click to the last drawing.

    python benchmarks/page_switch.py [--store runs] [--rounds 6]

Starts the dashboard on a store whose newest experiment is finished and drives Chromium through the navigation. A
visit ends with the last change of the page's document, plots included, once the script has run to its end and
nothing has changed for a second; what a table's canvas tells screen readers comes a third of a second after it is
drawn and is not waited for. The first visit builds the figures; later ones take them from memory. Needs an
otherwise idle machine, the development requirements and Chromium.
"""

from __future__ import annotations

import argparse
import statistics

from dashboard import dashboard

PAGES = ("Model", "Critical weights", "Layer risk", "Rewind", "Attacks", "Trade-off", "Overview")

WATCH = """() => {
    new MutationObserver(changes => {
        const unseen = change => change.target.parentElement?.closest("canvas")
            || change.target.localName === "canvas" && change.type === "childList"
        if (!changes.every(unseen)) window.changed = performance.now()
    })
        .observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true})
    document.addEventListener("click", () => { window.clicked = window.changed = performance.now() }, true)
}"""
QUIET = """() => document.querySelector("[data-test-script-state='notRunning']")
    && performance.now() - window.changed > 1000"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", default="runs", help="folder of results with a finished experiment")
    parser.add_argument("--rounds", type=int, default=6, help="visits of every page")
    args = parser.parse_args()
    visits: dict[str, list[float]] = {name: [] for name in PAGES}
    plots = dict.fromkeys(PAGES, 0)
    with dashboard(args.store) as page:
        page.wait_for_timeout(10_000)  # imports at the app's start, the first page
        page.evaluate(WATCH)
        for _ in range(args.rounds):
            for name in PAGES:
                page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
                page.get_by_role("heading", name=name, exact=True).wait_for()
                page.wait_for_function(QUIET)
                assert not page.get_by_test_id("stException").count(), f"{name} fails"
                visits[name].append(page.evaluate("window.changed - window.clicked"))
                if name == "Rewind" and len(visits[name]) == 1:
                    page.wait_for_timeout(8_000)  # the engine is imported behind this page, once
                plots[name] = page.locator(".js-plotly-plot").count()
    print(f"{'':20}{'first':>10}{'later':>10}{'plots':>10}")
    for name, (first, *later) in visits.items():
        print(f"{name:20}{first:>10.0f}{statistics.median(later):>10.0f}{plots[name]:>10}")


if __name__ == "__main__":
    main()
