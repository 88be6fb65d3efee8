"""The whole path in a browser: demo, slider, rewind, changed ROC, reload, a link in a fresh session, cancel."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import TimeoutError, expect

from tests.browser.conftest import App, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def roc_path(page) -> str:
    """The drawn 'after' curve of the ROC: the last curve of its plot, as the SVG path the browser draws."""
    plot = page.locator(".js-plotly-plot").filter(has_text="false positive rate").last
    plot.locator(".scatterlayer .trace path.js-line").last.wait_for()
    return plot.locator(".scatterlayer .trace path.js-line").last.get_attribute("d")


def open_page(page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name, exact=True).wait_for()
    settle(page)


def press(page, name: str, until: str) -> None:
    """Click a button until a text appears: a click on a button that is just being redrawn is lost, a person clicks
    again."""
    shown = page.get_by_text(until)
    for _ in range(3):
        page.get_by_role("button", name=name).click(timeout=60_000)
        try:
            shown.wait_for(timeout=20_000)
            return
        except TimeoutError:
            settle(page)
            if shown.is_visible():
                return
    raise AssertionError(f"{until!r} does not appear after {name!r}")


def test_from_first_paint_to_a_second_rewind(app: App, page) -> None:
    # the demo starts by itself and its results appear
    page.goto(app.url)
    page.get_by_role("heading", name="Overview").wait_for()
    page.get_by_text("What to look at next").wait_for(timeout=180_000)
    assert page.get_by_text("paired DeLong").count() == 1
    settle(page)
    first_link = page.url
    first = re.search(r"experiment=([0-9a-f]{16})", first_link).group(1)
    before_change = roc_path(page)

    # move the slider: the number of weights changes at once, no job starts
    open_page(page, "Rewind")
    heading = page.get_by_text(re.compile(r"weights \(.*\) would be rewound")).first
    said = heading.inner_text()
    page.get_by_role("slider").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("(said) => !document.body.innerText.includes(said)", arg=said)
    settle(page)
    assert len(list((app.store / "jobs").iterdir())) == 1

    # quality of the rewound model, before fine-tuning, on request
    press(page, "Check it before fine-tuning", "Right after the rewind")

    # rewind and fine-tune: a new experiment in the link, its ROC differs
    page.get_by_role("button", name="Rewind and fine-tune").click()
    page.get_by_role("button", name="Download the defended weights").wait_for(timeout=120_000)
    settle(page)
    second = re.search(r"experiment=([0-9a-f]{16})", page.url).group(1)
    assert second != first
    open_page(page, "Overview")
    page.get_by_text("What to look at next").wait_for()
    assert roc_path(page) != before_change

    # only the rewind and what follows it was computed again
    kinds = [path.name.split("-")[0] for path in app.store.iterdir() if "-" in path.name]
    assert kinds.count("train") == 2 and kinds.count("rewind") == 2 and kinds.count("scores") == 1

    # reload keeps the experiment; the first link in a fresh session shows the first one
    page.reload()
    page.get_by_text("What to look at next").wait_for()
    assert second in page.url
    other = page.context.browser.new_context().new_page()
    other.goto(first_link)
    other.get_by_text("What to look at next").wait_for()
    settle(other)
    assert first in other.url and roc_path(other) == before_change

    # the open part of a page is in the link as well, and leaves it with the page
    open_page(other, "Attacks")
    other.get_by_role("tab", name="One attack").click()
    other.get_by_text("Most exposed records").wait_for()
    other.wait_for_function("location.search.includes('attacks=One')")
    other.goto(other.url)
    other.get_by_text("Most exposed records").wait_for()
    settle(other)
    open_page(other, "Critical weights")
    assert "attacks=" not in other.url and first in other.url
    other.context.close()

    # cancel a job
    open_page(page, "Rewind")
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowLeft")
    settle(page)
    page.get_by_text(re.compile(r"^Fine-tuning: \d")).click()
    epochs = page.get_by_role("spinbutton", name="Epochs")
    expect(epochs).to_have_value("10", timeout=20_000)  # what the current experiment did
    epochs.fill("3000")
    epochs.press("Enter")
    settle(page)
    press(page, "Rewind and fine-tune", "Running for")
    press(page, "Cancel", "It was cancelled")
    assert page.get_by_role("button", name="Resume").count() == 1
    assert "Traceback" not in app.log.read_text()


def test_unknown_hash_and_every_page_on_a_phone(app: App, page) -> None:
    page.goto(f"{app.url}/?experiment=0123456789abcdef")
    page.get_by_text("There is no experiment 0123456789abcdef").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(app.url)
    page.get_by_text("What to look at next").wait_for(timeout=180_000)
    for path in ("", "model", "critical_weights", "layer_risk", "rewind", "attacks", "trade_off"):
        page.goto(f"{app.url}/{path}")
        page.get_by_role("heading").first.wait_for()
        settle(page)
        # the document itself never grows: Streamlit scrolls within its main part
        over = page.get_by_test_id("stMain").evaluate("main => main.scrollWidth - main.clientWidth")
        assert over <= 0, f"{path or 'overview'} is {over} px wider than a phone"
        assert page.get_by_test_id("stException").count() == 0
