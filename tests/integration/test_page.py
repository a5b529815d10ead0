"""The page in dask's dashboard, in a real browser, while a real run goes on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from playwright.sync_api import expect, sync_playwright

from psweep_dask.storage import journal
from psweep_dask.storage.frame import from_blocks

SCRIPT = """
import time
from pathlib import Path
import psweep_dask as ps

def func(pset):
    with open("begun", "ab") as begun:
        begun.write(b".")
        begun.flush()
        number = begun.tell()
    time.sleep(0.01)
    while number > 150 and not Path("go_on").exists():
        time.sleep(0.05)
    if number in (3, 4, 300):
        raise ValueError(f"<b>no</b> {number}")
    if number == 5:
        return {"y": 1 / 0}
    return {"y": pset["a"] ** 2, "kind": "odd" if pset["a"] % 2 else "even"}

if __name__ == "__main__":
    sweep = ps.submit(func, ps.plist("a", range(1, 401)))
    while sweep.dashboard_link is None:
        time.sleep(0.05)
    Path("link").write_text(sweep.dashboard_link)
    sweep.result()
    while not Path("leave").exists():
        time.sleep(0.05)
"""

WORKERS = len(os.sched_getaffinity(0))

POINTS = "() => Bokeh.documents[0].get_model_by_name('results').data.x.length"
"""JavaScript: how many points the plot has."""

REMARKS_OF_BOKEH = ("Bokeh items were rendered", "log level")


@pytest.fixture(autouse=True)
def slurm():
    """None is needed here."""


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium on the PATH")
    with sync_playwright() as playwright:
        quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def complaints():
    """Errors and warnings in the console of the browser."""
    return []


@pytest.fixture
def open_page(browser, complaints):
    def note(message):
        is_remark = any(remark in message.text for remark in REMARKS_OF_BOKEH)
        if message.type in ("error", "warning") and not is_remark:
            complaints.append(message.text)

    def open_page(url, **options):
        page = browser.new_page(**options)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    return open_page


@contextmanager
def driver(folder):
    """The address of the dashboard of a run that stands still before its half."""
    (folder / "driver.py").write_text(SCRIPT)
    command = [sys.executable, "driver.py"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL) as process:
        try:
            link = folder / "link"
            wait_until(lambda: link.exists() and link.read_text())
            address = link.read_text().removesuffix("/psweep")
            wait_until(lambda: stands_still(folder, address))
            yield address
            (folder / "go_on").touch()
            (folder / "leave").touch()
            assert process.wait(60) == 0
        finally:
            process.kill()


def stands_still(folder, address):
    before = status_json(address)["runs"][0]["done"]
    time.sleep(1)
    waiting = (folder / "begun").stat().st_size - 150
    return waiting == WORKERS and before == status_json(address)["runs"][0]["done"]


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A study whose run stands still, and the address of its dashboard."""
    folder = tmp_path_factory.mktemp("standing")
    with driver(folder) as address:
        yield folder / "calc", address


@pytest.fixture
def address(study_folder):
    """The address of the dashboard of a run that stands still until there is a file go_on."""
    with driver(study_folder) as address:
        yield address


def status_json(address):
    with urllib.request.urlopen(f"{address}/psweep/status.json", timeout=10) as answer:
        return json.load(answer)


def journaled(calc_dir):
    """The rows in the journal: those that workers still keep are not counted."""
    (path,) = Path(calc_dir, "runs").glob("*/journal")
    return from_blocks(journal.replay(path))


def test_page_shows_what_the_journal_has_and_follows_the_run(address, open_page, complaints):
    df = journaled("calc")
    page = open_page(f"{address}/psweep", viewport={"width": 1200, "height": 1400})
    counts = df._status.value_counts()
    expect(page.get_by_text(f"{counts.ok} ok")).to_be_visible()
    expect(page.get_by_text(f"{counts.error} error")).to_be_visible()
    cells = dict(re.findall(r"<b>([^<]*)</b><span>([^<]*)<", page.locator(".cells").inner_html()))
    shown = {name: value for value, name in cells.items()}
    numbers = (shown["done"], shown["failed"], shown["left"])
    assert numbers == (str(len(df)), "3", str(400 - len(df)))
    assert shown["running"] == str(WORKERS)
    page.wait_for_function(f"({POINTS})() === {counts.ok}")
    assert page.locator("canvas").count() >= 2

    page.locator(".slick-cell", has_text="ZeroDivisionError").click()
    expect(page.get_by_text('return {"y": 1 / 0}')).to_be_visible()
    page.locator(".slick-row", has_text="ValueError").first.locator(".slick-cell").first.click()
    expect(page.get_by_text(re.compile("ValueError: <b>no</b> [34]"))).to_be_visible()

    page.get_by_label("colour").select_option("kind")
    page.get_by_text("log y").click()
    page.wait_for_function(f"({POINTS})() === {counts.ok}")
    Path("go_on").touch()
    page.wait_for_function(f"({POINTS})() === 396")
    expect(page.get_by_text("396 ok")).to_be_visible()
    expect(page.get_by_text("in calc, ended")).to_be_visible()
    assert complaints == []


def test_status_json_agrees_with_the_journal(standing):
    calc_dir, address = standing
    df = journaled(calc_dir)
    status = status_json(address)
    (run,) = status["runs"]
    assert run["run_id"] == df._run_id.iloc[0]
    assert run["counts"] == {**df._status.value_counts(), "left": 400 - len(df)}
    assert run["failed"] == {"ValueError": 2, "ZeroDivisionError": 1}
    assert sum(bin_["psets"] for bin_ in run["runtimes"]) == len(df)
    failed = set(df._pset_seq[df._status == "error"])
    assert {failure["pset_seq"] for failure in run["failures"]} == failed
    slowest = df._pset_runtime.nlargest(10)
    assert [slow["seconds"] for slow in run["slowest"]] == pytest.approx(slowest.tolist())
    assert status["cluster"]["workers"] == WORKERS


def test_jupyterlab_finds_the_page_among_its_panels(standing, open_page):
    _, address = standing
    with urllib.request.urlopen(f"{address}/individual-plots.json", timeout=10) as answer:
        assert "/individual-psweep" in json.load(answer).values()
    page = open_page(f"{address}/individual-psweep")
    expect(page.get_by_text(" ok")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light_mode_have_text_that_can_be_read(scheme, standing, open_page):
    _, address = standing
    page = open_page(f"{address}/psweep", color_scheme=scheme)
    expect(page.get_by_text(" ok")).to_be_visible()
    ground = lightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for text in (" ok", "ValueError"):
        wait_until(partial(stands_out, page.get_by_text(text).first, ground), 20)


def stands_out(text, ground):
    colour = text.evaluate("element => getComputedStyle(element).color")
    return abs(lightness(colour) - ground) > 0.4


def lightness(colour):
    """Between 0 for black and 1 for white."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765


TWO_RUNS = """
import time
from pathlib import Path
import psweep_dask as ps

def square(pset):
    return {"y": pset["a"] ** 2}

def fails(pset):
    raise ValueError("no")

if __name__ == "__main__":
    ps.run(square, ps.plist("a", range(7)))
    sweep = ps.submit(fails, ps.plist("a", range(3)))
    sweep.result()
    Path("link").write_text(sweep.dashboard_link)
    while not Path("again").exists():
        time.sleep(0.05)
    ps.run(square, ps.plist("a", range(5)))
    while not Path("leave").exists():
        time.sleep(0.05)
"""


def test_menu_has_earlier_runs_of_the_process_and_follows_the_newest(study_folder, open_page):
    Path("driver.py").write_text(TWO_RUNS)
    with subprocess.Popen([sys.executable, "driver.py"], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: Path("link").exists() and Path("link").read_text())
            page = open_page(Path("link").read_text())
            other = open_page(Path("link").read_text())
            expect(page.get_by_text("3 error")).to_be_visible()
            choice = page.get_by_label("run")
            assert [text.split()[1] for text in choice.locator("option").all_inner_texts()] == [
                "fails",
                "square",
            ]
            choice.select_option(index=1)
            expect(page.get_by_text("7 ok")).to_be_visible()
            expect(page.get_by_text("Failures")).to_be_hidden()
            expect(other.get_by_text("3 error")).to_be_visible()  # each visitor chooses
            Path("again").touch()
            expect(other.get_by_text("5 ok")).to_be_visible(timeout=30_000)
            expect(page.get_by_text("7 ok")).to_be_visible()
            expect(choice.locator("option")).to_have_count(3)
            Path("leave").touch()
            assert process.wait(60) == 0
        finally:
            process.kill()
