"""What a notebook shows, in a real kernel."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import psweep_dask as ps
from psweep_dask.monitoring.notebook import run_html, table_html
from psweep_dask.monitoring.stats import RunStats

EXAMPLES = Path(__file__).parents[2] / "examples"

START = """
import time
import psweep_dask as ps

def func(pset):
    time.sleep(0.1)
    if pset["a"] == 3:
        raise ValueError("no 3")
    return {"y": pset["a"]}

sweep = ps.submit(func, ps.plist("a", range(30)), cluster="sync", progress=False)
sweep
"""


@pytest.fixture
def executed(study_folder, monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    cells = [START, "time.sleep(1.5)", "sweep.result(); time.sleep(2)", "ps.status('calc')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    shown = []
    client = NotebookClient(notebook, timeout=60)

    def keep(cell, cell_index, execute_reply):
        outputs = [output["data"] for output in notebook.cells[0].outputs if "data" in output]
        shown.append([data.get("text/html", "") for data in outputs])

    client.on_cell_executed = keep
    client.execute()
    return notebook, shown


@pytest.mark.filterwarnings("default")  # warnings of nbclient and zmq are not ours
def test_sweep_is_shown_and_updated_and_a_study_is_a_table(executed):
    notebook, shown = executed
    assert "of 30 psets" in shown[0][0]
    (during,) = shown[1]
    (number,) = re.findall(r"(\d+) of 30 psets", during)
    assert 1 <= int(number) < 30
    assert "left" in during
    (after,) = shown[3]  # the same output, not one more
    assert "30 of 30 psets" in after
    assert "ended" in after
    assert "1 &times; ValueError" in after
    (table,) = [output["data"]["text/html"] for output in notebook.cells[3].outputs]
    assert "<td>30 of 30</td>" in table


def test_sweep_in_a_terminal_of_ipython_is_its_repr(study_folder):
    script = START + "\nsweep.result()\nsweep\n"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "--no-confirm-exit"],
        input=script.replace("\n\n", "\n").replace(
            '    return {"y": pset["a"]}', '    return {"y": pset["a"]}\n'
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "ended: 29 ok, 1 error, 0 left>" in done.stdout


def test_html_escapes_names_and_links():
    html = run_html("<b>", RunStats(3).as_dict(), 'http://x/"onclick')
    assert "&lt;b&gt;" in html
    assert '"onclick' not in html
    assert "0 of 3 psets" in html
    table = "<table><tr><th>a</th></tr><tr><td>&lt;</td></tr></table>"
    assert table_html([{"a": "<"}]) == table
    assert "<script" not in table_html([{"<script>": "<script>"}], ["<script>"])


@pytest.mark.filterwarnings("default")  # warnings of nbclient and zmq are not ours
def test_notebook_among_the_examples_runs(study_folder):
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    notebook.cells.append(nbformat.v4.new_code_cell("time.sleep(2)"))  # what follows ends too
    NotebookClient(notebook, timeout=60).execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    assert "200 of 200 psets" in outputs[1][0]["data"]["text/html"]
    assert outputs[3][-1]["data"]["text/plain"] == "200"
    assert any("image/png" in output.get("data", {}) for output in outputs[4])
    assert "<td>200 of 200</td>" in outputs[5][0]["data"]["text/html"]
    assert ps.load("calc").y.tolist() == [a**2 % 17 for a in range(200)]
