"""The dashboard in a server of its own and Chromium in front of it, for measurements of what a person waits for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

ROOT, PORT = Path(__file__).resolve().parent.parent, 8599


@contextmanager
def dashboard(store: str) -> Iterator[Page]:
    """Start the dashboard on `store` and yield a browser's page at the first sign of it."""
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    server = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"REWINDLAB_STORE": store})
    try:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            for _ in range(100):
                try:
                    page.goto(f"http://127.0.0.1:{PORT}")
                    break
                except Error:
                    time.sleep(0.2)
            page.get_by_role("heading", name="Overview").wait_for(timeout=60_000)
            yield page
            browser.close()
    finally:
        server.terminate()
        server.wait()
