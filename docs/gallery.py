"""Run the examples that draw, and copy their pictures into docs/pictures.

Run it with: python docs/gallery.py

It needs the extra dev, and chromium on the PATH for the picture of the notebook.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).with_name("pictures")
EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURE_SCRIPTS = {
    "bifurcation.png": ["bifurcation.py"],
    "forced_pendulum.png": ["forced_pendulum/10run.py", "forced_pendulum/20plot.py"],
    "hyperparameters.png": ["hyperparameters.py"],
    "monte_carlo.png": ["monte_carlo.py"],
    "refined.png": ["refined.py"],
    "scans.png": ["multiple_local_1d_scans/10run.py", "multiple_local_1d_scans/20plot.py"],
    "stability_map.png": ["stability_map.py"],
}
"""Each picture with the scripts that draw it."""


def screenshot(page: Path, picture: Path) -> None:
    """Save a screenshot of a page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 900, "height": 600})
        tab.goto(page.as_uri())
        tab.wait_for_timeout(1000)
        tab.screenshot(path=picture, full_page=True)
        browser.close()


def main() -> None:
    """Draw all pictures again."""
    PICTURES.mkdir(exist_ok=True)
    for picture, scripts in PICTURE_SCRIPTS.items():
        with tempfile.TemporaryDirectory() as folder:
            for script in scripts:
                subprocess.run([sys.executable, EXAMPLES / script], cwd=folder, check=True)
            shutil.copy(Path(folder, picture), PICTURES)
    with tempfile.TemporaryDirectory() as folder:
        notebook = shutil.copy(EXAMPLES / "notebook.ipynb", folder)
        command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", notebook]
        subprocess.run(command, cwd=folder, check=True)
        screenshot(Path(folder, "notebook.html"), PICTURES / "notebook.png")


if __name__ == "__main__":
    main()
