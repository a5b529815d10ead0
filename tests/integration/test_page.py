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
import sys
HEAD
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
def said():
    """What the browser's console says that is worse than a remark."""
    return []


@pytest.fixture
def open_page(browser, said):
    def go(url, **options):
        page = browser.new_page(**options)
        page.on(
            "console",
            lambda one: said.append(one.text) if one.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda one: said.append(str(one)))
        page.goto(url)
        return page

    return go


@contextmanager
def driver(folder, head=""):
    """Give the address of the dashboard of a run that stands still before its half."""
    (folder / "driver.py").write_text(SCRIPT.replace("HEAD", head))
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
    before = numbers(address)["runs"][0]["done"]
    time.sleep(1)
    waiting = (folder / "begun").stat().st_size - 150
    return waiting == WORKERS and before == numbers(address)["runs"][0]["done"]


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    """A study whose run stands still, and the address of its dashboard."""
    folder = tmp_path_factory.mktemp("still")
    with driver(folder) as address:
        yield folder / "calc", address


@pytest.fixture
def address(study_folder, request):
    """Where the dashboard of a run is that stands still until there is a file go_on."""
    with driver(study_folder, getattr(request, "param", "")) as address:
        yield address


def numbers(address):
    with urllib.request.urlopen(f"{address}/psweep/status.json", timeout=10) as answer:
        return json.load(answer)


def journaled(calc_dir):
    """The rows that have come home: what workers keep meanwhile is not counted."""
    (path,) = Path(calc_dir, "runs").glob("*/journal")
    return from_blocks(journal.replay(path))


def test_the_page_shows_what_the_journal_has_and_follows_the_run(address, open_page, said):
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
    assert [
        one for one in said if "Bokeh items were rendered" not in one and "log level" not in one
    ] == []


def test_the_numbers_for_scripts_agree_with_the_journal(still):
    calc_dir, address = still
    df = journaled(calc_dir)
    status = numbers(address)
    (run,) = status["runs"]
    assert run["run_id"] == df._run_id.iloc[0]
    assert run["counts"] == {**df._status.value_counts(), "left": 400 - len(df)}
    assert run["failed"] == {"ValueError": 2, "ZeroDivisionError": 1}
    assert sum(one["psets"] for one in run["runtimes"]) == len(df)
    failed = set(df._pset_seq[df._status == "error"])
    assert {one["pset_seq"] for one in run["failures"]} == failed
    slowest = df._pset_runtime.nlargest(10)
    assert [one["seconds"] for one in run["slowest"]] == pytest.approx(slowest.tolist())
    assert status["cluster"]["workers"] == WORKERS


def test_jupyterlab_finds_the_page_among_its_panels(still, open_page):
    _, address = still
    with urllib.request.urlopen(f"{address}/individual-plots.json", timeout=10) as answer:
        assert "/individual-psweep" in json.load(answer).values()
    page = open_page(f"{address}/individual-psweep")
    expect(page.get_by_text(" ok")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_by_day_and_by_night(scheme, still, open_page):
    _, address = still
    page = open_page(f"{address}/psweep", color_scheme=scheme)
    expect(page.get_by_text(" ok")).to_be_visible()
    ground = lightness(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for text in (" ok", "ValueError"):
        wait_until(partial(stands_out, page.get_by_text(text).first, ground), 20)


def stands_out(text, ground):
    colour = text.evaluate("one => getComputedStyle(one).color")
    return abs(lightness(colour) - ground) > 0.4


def lightness(colour):
    """Between 0 for black and 1 for white."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765


@pytest.mark.parametrize("address", ["sys.modules['bokeh'] = None"], indirect=True)
def test_without_bokeh_there_is_a_plain_page_with_the_numbers(address, open_page, said):
    df = journaled("calc")
    page = open_page(f"{address}/psweep")
    expect(page.get_by_text(f"{len(df)} of 400")).to_be_visible()
    page.locator("summary", has_text="ValueError").first.click()
    traceback = page.get_by_text(re.compile(r"ValueError: <b>no</b> [34]\b")).first
    expect(traceback).to_be_visible()
    Path("go_on").touch()
    expect(page.get_by_text("400 of 400")).to_be_visible(timeout=30_000)
    expect(traceback).to_be_visible()  # what is open stays open
    assert said == []


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


def test_one_looks_at_earlier_runs_of_the_process_and_follows_the_newest(study_folder, open_page):
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
