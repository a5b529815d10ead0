"""Take the screenshot of the dashboard's page for the docs.

Run it with: python docs/page_screenshot.py

It needs playwright, and chromium on the PATH.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import psweep_dask as ps

PICTURE = Path(__file__).with_name("page.png")
DONE = 0.5
"""Part of the psets that is done when the screenshot is taken."""


def func(pset: dict[str, Any]) -> dict[str, Any]:
    """Take some time, and fail sometimes."""
    time.sleep(random.expovariate(30))
    if pset["amplitude"] == 2 and pset["angle"] % 70 == 30:
        raise ValueError(f"no solution at {pset['angle']} degrees")
    height = pset["amplitude"] * math.sin(math.radians(pset["angle"]))
    return {"height": height, "sign": "up" if height > 0 else "down"}


def main() -> None:
    """Run a study, and take the screenshot in the middle of the run."""
    func.__code__ = func.__code__.replace(co_filename="10run.py")  # no local path in the picture
    os.chdir(tempfile.mkdtemp())
    params = ps.pgrid(ps.plist("angle", range(0, 720, 2)), ps.plist("amplitude", [1, 2, 3]))
    sweep = ps.submit(func, params)
    while sweep.dashboard_link is None or sweep.progress["left"] > (1 - DONE) * len(params):
        time.sleep(0.1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(sweep.dashboard_link)
        page.get_by_label("colour").select_option("amplitude")
        page.locator(".slick-cell", has_text="ValueError").first.click()
        page.wait_for_timeout(2000)
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()
    sweep.stop(now=True)
    sweep.result()


if __name__ == "__main__":
    main()
