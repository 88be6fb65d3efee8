"""How long a person who opens an empty store waits, in seconds from the first paint: first results, whole demo.

    python benchmarks/first_paint.py

Starts the dashboard on an empty store and drives Chromium; needs the development requirements and Chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

ROOT, PORT = Path(__file__).resolve().parent.parent, 8599


def main() -> None:
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(PORT)]
    with tempfile.TemporaryDirectory() as store, sync_playwright() as driver:
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"REWINDLAB_STORE": store})
        try:
            browser = driver.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            for _ in range(100):
                try:
                    page.goto(f"http://127.0.0.1:{PORT}")
                    break
                except Error:
                    time.sleep(0.2)
            page.get_by_role("heading", name="Overview").wait_for(timeout=60_000)
            started = time.perf_counter()
            for what, text in (("first results", "Members are learned better"), ("demo", "What to look at next")):
                page.get_by_text(text).wait_for(timeout=300_000)
                print(f"{what}: {time.perf_counter() - started:.0f} s after the first paint", flush=True)
            browser.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
