"""Every example runs as a user would start it, and prints what its docstring says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import psweep_dask as ps

EXAMPLES = Path(__file__).parents[1] / "examples"
SLURM = {
    EXAMPLES / "slurm" / name for name in ("driver_job.py", "in_an_allocation.py", "live_run.py")
}
"""These need SLURM: integration/test_slurm_examples.py runs them."""

BATCH = {EXAMPLES / "batch" / name for name in ("10input.py", "20input.py", "30eval.py")}
"""These are started by batch/run_example.sh, which has its own test."""

SCRIPTS = sorted(
    {*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/*.py")} - {*EXAMPLES.glob("slurm/*")} - BATCH
)
NAMES = sorted({path.relative_to(EXAMPLES).parts[0] for path in SCRIPTS})
"""An example is a script, or a folder of scripts that are started in alphabetical order."""

SLOW = {"benchmark_shell_command.py", "forced_pendulum", "vary_2_params_parallel.py"}
FAILING = {"failures.py"}
"""Some psets of these examples fail on purpose."""

RESULT_FILES = shutil.ignore_patterns("calc", "calc.*", "*.png", "__pycache__")


@dataclass(frozen=True)
class Finished:
    """An example that has run: its folder, the names of new files there, and what it printed."""

    folder: Path
    made: set[str]
    output: str

    def database(self, name: str = "calc/database.pk") -> pd.DataFrame:
        return ps.df_read(self.folder / name)

    def shows(self, df: pd.DataFrame) -> bool:
        """Return whether the example has printed this table."""
        return df.to_string(index=False) in self.output


def start(name: str, tmp_path: Path) -> Finished:
    """Run the scripts of an example in a copy of its folder."""
    copy = shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=RESULT_FILES)
    scripts = [copy / path.relative_to(EXAMPLES) for path in SCRIPTS]
    scripts = [path for path in scripts if path.relative_to(copy).parts[0] == name]
    folder = scripts[0].parent
    before = {path.name for path in folder.iterdir()}
    output = ""
    for script in scripts:
        command = [sys.executable, script.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        messages = done.stderr.splitlines()
        assert name in FAILING or all(line.startswith("psweep_dask: ") for line in messages)
        assert done.stdout.strip(), "the script prints nothing"
        output += done.stdout
    made = {path.name for path in folder.iterdir()} - before - {"__pycache__"}
    return Finished(folder, made, output)


def is_picture(path: Path) -> bool:
    content = path.read_bytes()
    return content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) > 10_000


def check_vary_1_param(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    assert df.a.tolist() == [1, 2, 3]
    assert df.result.between(0, df.a).all()
    assert df.result.nunique() == 3
    assert done.shows(df[["_run_seq", "_pset_seq", "a", "result", "_status"]])


def check_vary_2_params(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    grid = [(1, 77), (1, 88), (2, 77), (2, 88), (3, 77), (3, 88)]
    assert list(df[["a", "b"]].itertuples(index=False, name=None)) == grid
    assert df.result.between(0, df.a * df.b).all()
    assert list(df.columns[:10]) == [
        *("a", "b", "_run_id", "_pset_id", "_calc_dir", "_time_utc", "_pset_sha1"),
        *("_pset_seq", "_run_seq", "result"),
    ]
    in_psweeps_readme = "281c595edf7ffa124ac3ef82f26de3f8eb8517f2"
    assert df._pset_sha1.iloc[0] == in_psweeps_readme
    assert df._run_id.nunique() == 1
    assert df._pset_id.nunique() == 6
    assert done.output.startswith("{'a': 1, 'b': 77}\n{'a': 1, 'b': 88}\n")
    assert done.shows(df[["a", "b", "result", "_run_seq", "_pset_seq", "_pset_id"]])
    assert f"all columns: {', '.join(df.columns)}" in done.output


def check_vary_1_param_repeat_same(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    assert df._run_seq.tolist() == [0, 0, 0, 1, 1, 1]
    assert df._run_id.nunique() == 2
    assert df._pset_id.nunique() == 6
    assert df._pset_sha1.tolist() == [ps.pset_sha1({"a": a}) for a in (1, 2, 3, 1, 2, 3)]
    drawn = [ps.rng({"_pset_id": pset_id}).normal(scale=0.1) for pset_id in df._pset_id]
    assert df.result.tolist() == (df.a + drawn).tolist()
    for name in ("_run_id", "_pset_id", "_pset_sha1"):
        assert all(value[:8] in done.output for value in df[name])
    means = df.groupby("a").result.mean()
    assert all(re.search(rf"^ {a} +2 {means[a]:.6f} ", done.output, re.M) for a in (1, 2, 3))


def check_vary_1_param_repeat(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    assert df.a[df._run_seq == 0].tolist() == [0, 1, 2, 3, 4]
    assert df.a[df._run_seq == 1].tolist() == [1.25, 1.5, 1.75, 2.25, 2.5, 2.75]
    assert df.result.tolist() == pytest.approx((df.a - 2.2) ** 2)
    assert done.shows(df.sort_values("a")[["a", "result", "_run_seq", "_pset_seq"]])
    assert "coarse scan: minimum near a=2.0\n" in done.output
    assert "dense scan: minimum near a=2.25\n" in done.output


def check_vary_2_params_repeat(done: Finished) -> None:
    df = done.database()
    assert df._run_seq.tolist() == [0] * 4 + [1] * 3
    assert df.columns[:3].tolist() == ["a", "b", "c"]
    assert df.c.isna().tolist() == [True] * 4 + [False] * 3
    assert df.result.tolist() == (df.a * df.b + df.c.fillna(0)).tolist()
    assert done.shows(df[["_run_seq", "_pset_seq", "a", "b", "c", "result"]])
    (backup,) = done.made - {"calc"}
    assert backup.endswith(f"_run_id_{df._run_id.iloc[0]}")
    old = done.database(f"{backup}/database.pk")
    assert old._pset_id.tolist() == df._pset_id[:4].tolist()
    assert old.result.tolist() == df.result[:4].tolist()
    assert f"{backup} with 4 rows" in done.output


def check_vary_2_params_parallel(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    assert len(df) == 12
    assert df.result.tolist() == (df.a * df.b).tolist()
    assert (df._pset_runtime >= 0.2 * df.a).all()
    assert 2 <= df.worker.nunique() <= 4
    in_order = df.sort_values("_time_utc")
    ends = in_order._time_utc + pd.to_timedelta(in_order._pset_runtime, unit="s")
    assert (in_order._time_utc.to_numpy()[1:] < ends.to_numpy()[:-1]).any(), (
        "no two psets ran at the same time"
    )
    assert done.shows(df[["a", "b", "result", "worker", "_pset_runtime"]])
    assert f"12 psets on {df.worker.nunique()} workers" in done.output
    assert f"in sum       {df._pset_runtime.sum():.1f} s" in done.output
    assert re.search(r"on the clock \d+\.\d s, \d+\.\d times less", done.output)


def check_vary_1_param_simulate(done: Finished) -> None:
    assert done.made == {"calc", "calc.simulate"}
    real, simulated = done.database(), done.database("calc.simulate/database.pk")
    assert real.a.tolist() == [1, 2]
    assert real.result.tolist() == [10, 20]
    assert simulated.a.tolist() == [1, 2, 3, 4, 5]
    assert simulated._status.tolist() == ["ok"] * 2 + ["simulated"] * 3
    assert simulated._run_seq.tolist() == [0, 0, 1, 1, 1]
    assert simulated.result.isna().tolist() == [False] * 2 + [True] * 3
    cols = ["_run_seq", "_pset_seq", "_calc_dir", "a", "result", "_status"]
    assert done.shows(simulated[cols])
    assert done.shows(real[cols])


def check_vary_1_param_study_column(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    assert df.study.tolist() == ["scan=a"] * 3 + ["scan=b"] * 3 + ["scan=a:b"] * 4
    assert df._run_seq.tolist() == [0] * 3 + [1] * 3 + [2] * 4
    assert df.result.tolist() == (df.a * df.b).tolist()
    cols = ["_run_seq", "_pset_seq", "study", "a", "b", "result"]
    assert done.shows(df[cols])
    assert done.shows(df[df.study == "scan=b"][cols])
    assert done.shows(df[1:3][cols])
    assert "\n[[ 4 66]\n [ 4 55]\n [ 5 66]\n [ 5 55]]\n" in done.output


def check_save_data_on_disk(done: Finished) -> None:
    assert done.made == {"calc"}
    df, evaluated = done.database(), done.database("calc/database_eval.pk")
    assert df.a.tolist() == [1, 2, 3, 4]
    for a, pset_id in zip(df.a, df._pset_id, strict=True):
        path = done.folder / "calc" / pset_id / "output.txt"
        assert path.read_text() == f"{a} {2 * a} {4 * a}\n"
    assert df.cmd.str.startswith("mkdir -p calc/").all()
    assert done.shows(df[["a", "_status", "cmd"]])
    assert "mean" not in df.columns
    assert evaluated["mean"].tolist() == pytest.approx([7 / 3, 14 / 3, 7, 28 / 3])
    assert evaluated._pset_id.tolist() == df._pset_id.tolist()
    assert done.shows(evaluated[["a", "mean", "_pset_id"]])


def check_multiple_local_1d_scans(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc", "scans.png"}
    assert is_picture(done.folder / "scans.png")
    runs = df[["_run_seq", "study"]].drop_duplicates()
    assert runs.to_numpy().tolist() == [[0, "speed"], [1, "angle"], [2, "drag"]]
    assert len(df) == 27
    reference = {"speed": 25.0, "angle": 40.0, "drag": 0.01}
    for name in reference:
        scan = df[df.study == name]
        assert scan[name].is_unique
        others = scan[[key for key in reference if key != name]].drop_duplicates()
        assert others.to_dict("records") == [{key: reference[key] for key in others}]
        best = scan.loc[scan.distance == scan.distance.max(), name].item()
        flies = f"the ball flies {scan.distance.max():.1f} m at {name}={best:g}\n"
        assert f"scan of {name}: {flies}" in done.output
    without_drag = df.distance[df.drag == 0].item()
    assert without_drag == pytest.approx(25**2 * np.sin(np.radians(80)) / 9.81, rel=1e-6)
    assert done.shows(df[["_run_seq", "_pset_seq", "study", *reference, "distance"]])


def check_benchmark_shell_command(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc"}
    ratios = df.groupby("cmd").ratio.mean()
    assert 0 < ratios["gzip -9"] < ratios["gzip -1"] < 1
    assert ratios["sort"] == pytest.approx(1, abs=1e-3)
    assert (df.seconds > 0).all()
    groups = df.groupby(["cmd", "size_mb"])
    assert len(df) == 3 * len(groups) == 3 * 10
    header, *lines = done.output.splitlines()
    assert header.split() == ["cmd", "size_mb", "runs", "mean", "std", "best", "ratio", "mb_per_s"]
    printed = [line.rsplit(maxsplit=7) for line in lines]
    means = {(row[0].strip(), int(row[1])): float(row[3]) for row in printed}
    assert means == pytest.approx(groups.seconds.mean().to_dict(), abs=1e-3)


def check_forced_pendulum(done: Finished) -> None:
    df = done.database()
    assert done.made == {"calc", "forced_pendulum.png"}
    assert is_picture(done.folder / "forced_pendulum.png")
    assert df.study.value_counts().to_dict() == {"map": 700, "line": 300}
    assert df[df.study == "map"].groupby(["frequency", "amplitude"]).size().unstack().shape == (
        20,
        35,
    )
    assert (df.frequency[df.study == "line"] == 2 / 3).all()
    number = (df.lyapunov > 0.01).sum()
    assert f"{number} of 1000 psets are chaotic" in done.output
    # Friction contracts each area by exp(-t / Q), so the larger exponent is not below -1 / (2 Q).
    assert df.lyapunov.min() > -0.25 - 0.02
    # From the literature (Q = 2, frequency 2/3): one velocity per period at amplitude 0.9 and at
    # 1.35, two at 1.44, and chaos with an exponent of about 0.14 around 1.2.
    line = df[df.study == "line"].set_index("amplitude")
    assert line.index.is_unique
    for amplitude, velocities in [(0.9, 1), (1.35, 1), (1.44, 2)]:
        row = line.iloc[abs(line.index - amplitude).argmin()]
        assert row.lyapunov < 0
        assert len(set(row.velocities.round(2))) == velocities
    assert line.lyapunov[1.18:1.21].mean() == pytest.approx(0.14, abs=0.03)


def check_bifurcation(done: Finished) -> None:
    df = done.database()
    assert is_picture(done.folder / "bifurcation.png")
    assert df._run_seq.value_counts().to_dict() == {0: 600, 1: 400}
    first = {int(n): float(r) for n, r in re.findall(r"(\d) values first at r=(.*)", done.output)}
    for values, known in {2: 3.0, 4: 1 + 6**0.5, 8: 3.5441}.items():  # from the literature
        assert first[values] == pytest.approx(known, abs=0.01)


def check_hyperparameters(done: Finished) -> None:
    df = done.database()
    assert is_picture(done.folder / "hyperparameters.png")
    assert len(df) == 900
    assert df.width.nunique() == df.ridge.nunique() == 30
    assert 0.3 < df.error.min() < 0.35  # the noise of the data is 0.3
    assert f"best of 900: error {df.error.min():.3f}" in done.output


def check_monte_carlo(done: Finished) -> None:
    df = done.database()
    assert is_picture(done.folder / "monte_carlo.png")
    assert df.groupby("size").size().to_dict() == dict.fromkeys([2, 8, 14, 20, 26, 32], 40)
    assert df._pset_sha1.nunique() == 6
    ratio = df.groupby("size").steps.mean() / [size**2 for size in (2, 8, 14, 20, 26, 32)]
    assert ratio.between(1 / 2.5, 2.5).all()  # 1, with a standard error of 0.13
    assert df.groupby("size").steps.nunique().min() > 3, "repeats draw equal numbers"


def check_refined(done: Finished) -> None:
    df = done.database()
    assert is_picture(done.folder / "refined.png")
    assert df._run_seq.value_counts(sort=False).to_dict() == {0: 10, 1: 15, 2: 15, 3: 15}
    assert df.amplitude.max() > 99
    assert df.frequency.between(0.9, 1.1).sum() > 25
    assert df.frequency.is_unique


def check_stability_map(done: Finished) -> None:
    df = done.database()
    assert is_picture(done.folder / "stability_map.png")
    assert len(df) == 2400
    assert f"{df.stable.sum()} of 2400 psets are stable" in done.output
    stable = df.assign(a=df.a.round(1), q=df.q.round(1)).set_index(["a", "q"]).stable
    known = {(0.5, 0.2): True, (1.0, 0.3): False, (0.0, 0.5): True, (-0.2, 0.1): False}
    assert {place: stable[place] for place in known} == known
    free = df[
        (df.q == 0) & ((df.a - df.a.round()).abs() > 0.05)
    ]  # integer values of a are on a border
    assert free.stable.tolist() == (free.a > 0).tolist()


def check_failures(done: Finished) -> None:
    df = done.database()
    failed = df[df._status != "ok"]
    assert failed._status.tolist() == ["error", "timeout", "killed"]
    assert (failed.a == 1).all()
    assert "raises, a=1: error: ZeroDivisionError: division by zero\n" in done.output
    assert df.y[df._run_seq == 1].tolist() == [-1.0] * 3
    assert done.shows(df[["_run_seq", "case", "a", "y", "_status"]])


CHECKS: dict[str, Callable[[Finished], None]] = {
    "benchmark_shell_command.py": check_benchmark_shell_command,
    "bifurcation.py": check_bifurcation,
    "failures.py": check_failures,
    "forced_pendulum": check_forced_pendulum,
    "hyperparameters.py": check_hyperparameters,
    "monte_carlo.py": check_monte_carlo,
    "multiple_local_1d_scans": check_multiple_local_1d_scans,
    "refined.py": check_refined,
    "save_data_on_disk": check_save_data_on_disk,
    "stability_map.py": check_stability_map,
    "vary_1_param.py": check_vary_1_param,
    "vary_1_param_repeat.py": check_vary_1_param_repeat,
    "vary_1_param_repeat_same.py": check_vary_1_param_repeat_same,
    "vary_1_param_simulate.py": check_vary_1_param_simulate,
    "vary_1_param_study_column.py": check_vary_1_param_study_column,
    "vary_2_params.py": check_vary_2_params,
    "vary_2_params_parallel.py": check_vary_2_params_parallel,
    "vary_2_params_repeat.py": check_vary_2_params_repeat,
}


def test_examples_all_have_a_check():
    assert list(CHECKS) == NAMES
    assert set(NAMES) >= SLOW


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES],
)
def test_examples_run_and_print_what_they_should(name, tmp_path):
    done = start(name, tmp_path)
    df = done.database()
    assert (df._status == "ok").all() == (name not in FAILING)
    assert df._pset_id.is_unique
    assert df._pset_seq.tolist() == list(range(len(df)))
    assert df._run_seq.is_monotonic_increasing
    assert df._run_seq.iloc[0] == 0
    assert len(df[["_run_seq", "_run_id"]].drop_duplicates()) == df._run_seq.iloc[-1] + 1
    assert (df._calc_dir == "calc").all()
    assert (df.index == df._time_utc).all()
    assert (df._pset_runtime > 0)[df._status == "ok"].all()
    assert not list(done.folder.glob("calc/runs/*/journal")), "rows are not in the database"
    CHECKS[name](done)


@pytest.mark.parametrize(
    "path", [*SCRIPTS, *sorted(SLURM | BATCH)], ids=lambda path: str(path.relative_to(EXAMPLES))
)
def test_examples_are_short_and_say_what_they_show(path):
    lines = path.read_text().splitlines()
    assert len(lines) < 60
    assert lines[0].startswith('"""')
    assert "You will see" in path.read_text()
    assert not any("__main__" in line for line in lines), "workers never import the script"
    assert "import psweep_dask as ps" in lines


def test_examples_batch_runs_from_preparation_to_evaluation(tmp_path):
    folder = shutil.copytree(EXAMPLES / "batch", tmp_path / "batch")
    author = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in {"NAME": "Someone", "EMAIL": "someone@example.org"}.items()
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["./run_example.sh"],
        cwd=folder,
        env=os.environ | author | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    df = ps.df_read(folder / "calc/database.pk")
    grid = [(a, b) for a in (1, 2, 3, 4) for b in (88, 99)]
    assert list(df[["param_a", "param_b"]].itertuples(index=False, name=None)) == grid
    assert df._status.tolist() == ["ok"] * 8
    assert df._run_seq.tolist() == [0] * 6 + [1] * 2
    evaluated = ps.df_read(folder / "calc/database_eval.pk")
    assert evaluated["mean"].tolist() == pytest.approx((df.param_a * df.param_b).tolist(), abs=0.2)
    columns = ["param_a", "param_b", "mean", "seconds", "_run_seq", "_pset_seq"]
    assert evaluated[columns].to_string(index=False) in done.stdout
    assert len(re.findall(r"^[0-9a-f]{7} psweep: batch: run_id=", done.stdout, re.M)) == 2
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert "jobscript_cluster" in tracked
    assert "out.npy" not in tracked
    subprocess.run(["./clean.sh"], cwd=folder, check=True)
    names = {path.name for path in folder.iterdir()} - {".git", "__pycache__"}
    assert names == {path.name for path in (EXAMPLES / "batch").iterdir()} - {"__pycache__"}
