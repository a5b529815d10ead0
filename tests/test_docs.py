"""The docs build without a warning, and their Python, YAML, commands and lists are right."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from dataclasses import fields
from importlib.metadata import entry_points
from itertools import takewhile
from pathlib import Path

import click
import dask.config
import dask_jobqueue  # noqa: F401  (adds its defaults to dask.config)
import pytest

import psweep_dask as ps
from psweep_dask._yaml import read_yaml
from psweep_dask.cli import main as main_module
from psweep_dask.clusters import config
from psweep_dask.options import Options

DOCS = Path(__file__).parents[1] / "docs"
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
PAGES = sorted(path.name for path in DOCS.glob("*.md") if PYTHON.search(path.read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_docs_python_blocks_of_a_page_run_as_a_script(page, study_folder):
    blocks = PYTHON.findall((DOCS / page).read_text())
    script = study_folder / "page.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


unknown = object()


def keys(settings, above=""):
    """Yield the keys of settings as dask writes them, such as distributed.dashboard.link."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from keys(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


YAML = re.compile(r"^ *```yaml\n(.*?)^ *```$", re.M | re.S)


@pytest.mark.parametrize("block", YAML.findall((DOCS / "hpc.md").read_text()))
def test_docs_yaml_blocks_of_hpc_page_are_valid(block, study_folder):
    text = textwrap.dedent(block)
    settings = read_yaml(text)
    if "cores" in settings.get("jobqueue", {}):
        folder = Path("templates/machines/lab")
        folder.mkdir(parents=True)
        (folder / "info.yaml").write_text(
            text if "cluster" in settings else f"cluster: slurm\n{text}"
        )
        psweep = Path(sys.executable).with_name("psweep-dask")
        done = subprocess.run(
            [psweep, "machines", "lab"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "#SBATCH" in done.stdout
    else:
        dask_keys = [key for key in keys(settings) if not key.startswith("psweep.")]
        assert all(dask.config.get(key, unknown) is not unknown for key in dask_keys)
        with dask.config.set(settings):
            config.check()


COMMAND = re.compile(r"^ *(?:\$ )?[\w./]*\b(psweep-[\w]+(?: .*)?)$|`(psweep-[\w]+ [^`]*)`", re.M)
"""A command on its own line, or in a sentence."""

COMMANDS = sorted(
    {
        (path.name, *takewhile("|".__ne__, shlex.split(line or inline, comments=True)))
        for path in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
        for line, inline in COMMAND.findall(path.read_text().replace("\\|", "|"))
        if "<machine>" not in line and "..." not in inline
    }
)


@pytest.mark.parametrize("shown", COMMANDS, ids=" ".join)
def test_docs_commands_are_valid(shown, study_folder):
    _, program, *words = shown
    (command,) = (point.load() for point in entry_points(group="console_scripts", name=program))
    for script in (word for word in words if word.endswith(".py")):
        Path(script).touch()
    context = None
    if command is main_module.main and words != ["--help"]:
        context = click.Context(command)
        program, command, words = command.resolve_command(context, words)  # an error if unknown
        if not words:  # named in a sentence, perhaps without its arguments
            return
    if words != ["--help"]:
        command.make_context(program, words, context)
    assert "--help" in command.get_help(click.Context(command))


@pytest.mark.slow
def test_sphinx_builds_the_docs_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, tmp_path / "html"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    start = (tmp_path / "html" / "start.html").read_text()
    assert "logistic map" in start
    api = (tmp_path / "html" / "api.html").read_text()
    missing = [name for name in ps.__all__ if f'id="psweep_dask.{name}"' not in api]
    assert not missing
    help_of_run = api.partition('id="psweep_dask.run"')[2].partition('<dt class="sig')[0]
    options = [field.name for field in fields(Options)]
    assert [name for name in options if f"<strong>{name}</strong>" not in help_of_run] == [
        "poolsize"
    ]


def test_docs_start_page_shows_what_its_script_prints(study_folder):
    (block,) = PYTHON.findall((DOCS / "start.md").read_text())
    (study_folder / "study.py").write_text(block)
    done = subprocess.run([sys.executable, "study.py"], capture_output=True, text=True, check=True)
    assert "200 of 200 psets in" in done.stderr
    assert done.stdout.split()[:4] == ["r", "x", "_status", "_pset_runtime"]
    psweep = Path(sys.executable).with_name("psweep-dask")
    commands = [
        line for line in (DOCS / "start.md").read_text().splitlines() if "psweep-dask " in line
    ]
    shown = [line.split()[1:] for line in commands if line.startswith(".venv/bin/psweep-dask")]
    assert len(shown) == 3
    for words in shown:
        subprocess.run([psweep, *words], check=True, stdout=subprocess.PIPE)
    assert Path("bifurcation.png").stat().st_size > 10_000


def test_readme_shows_the_example_vary_2_params():
    example = (DOCS.parent / "examples" / "vary_2_params.py").read_text()
    assert example.partition('"""\n\n')[2] in (DOCS.parent / "README.md").read_text()


def test_architecture_lists_all_modules_by_their_first_lines():
    script = runpy.run_path(str(DOCS / "modules.py"))
    page = script["SECTION"].search((DOCS / "architecture.md").read_text()).group()
    rows = re.findall(r"^\| `.*", page, re.M)
    expected = re.findall(r"^\| `.*", script["section"](), re.M)
    package = Path(ps.__file__).parent
    modules = {
        path.relative_to(package).with_suffix("").as_posix() for path in package.rglob("*.py")
    }
    modules = {module for module in modules if Path(module).name != "__init__"}
    assert {row.split("`")[1] for row in expected} == modules
    table = "\n".join(expected)
    assert rows == expected, f"run `python docs/modules.py`, which writes these rows:\n{table}"


def test_guarantees_name_tests_that_exist():
    tests = DOCS.parent / "tests"
    names = re.findall(r"`([\w/]+\.py)?(?:::(\w+))?`", (DOCS / "guarantees.md").read_text())
    file = ""
    missing = []
    for path, name in names:
        file = path or file
        text = (tests / file).read_text() if (tests / file).is_file() else ""
        if (path or name) and f"def {name or 'test_'}" not in text:
            missing.append(f"{file}::{name}")
    assert not missing
    assert len(names) > 40
