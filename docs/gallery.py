"""Run the examples that draw, and put their pictures where the gallery shows them.

Run it with: python docs/gallery.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
EXAMPLES = DOCS.parent / "examples"
DRAW = ("bifurcation", "hyperparameters", "monte_carlo", "refined", "stability_map")


def main() -> None:
    (DOCS / "pictures").mkdir(exist_ok=True)
    for name in DRAW:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, EXAMPLES / f"{name}.py"], cwd=folder, check=True)
            shutil.copy(Path(folder, f"{name}.png"), DOCS / "pictures")
    scans = EXAMPLES / "multiple_local_1d_scans"
    with tempfile.TemporaryDirectory() as folder:
        for script in ("10run.py", "20plot.py"):
            shutil.copy(scans / script, folder)
            subprocess.run([sys.executable, script], cwd=folder, check=True)
        shutil.copy(Path(folder, "scans.png"), DOCS / "pictures")


if __name__ == "__main__":
    main()
