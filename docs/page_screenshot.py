"""Take the picture of the dashboard's page that is in the manual.

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
HALF = 0.5
"""Of the psets are done by then."""


def func(pset: dict[str, Any]) -> dict[str, Any]:
    """Take a while, and fail now and then."""
    time.sleep(random.expovariate(30))
    if pset["amplitude"] == 2 and pset["angle"] % 70 == 30:
        raise ValueError(f"no solution at {pset['angle']} degrees")
    height = pset["amplitude"] * math.sin(math.radians(pset["angle"]))
    return {"height": height, "sign": "up" if height > 0 else "down"}


def main() -> None:
    """Run a study, and take the picture in the middle of it."""
    func.__code__ = func.__code__.replace(co_filename="10run.py")  # no folder of mine in there
    os.chdir(tempfile.mkdtemp())
    params = ps.pgrid(ps.plist("angle", range(0, 720, 2)), ps.plist("amplitude", [1, 2, 3]))
    sweep = ps.submit(func, params)
    while sweep.dashboard_link is None or sweep.progress["left"] > HALF * len(params):
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
