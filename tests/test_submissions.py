from __future__ import annotations

from pathlib import Path

import pytest
from offline import machine, write

from psweep_dask.job_files import read_job_files
from psweep_dask.jobscript import JobscriptError
from psweep_dask.layout import Layout
from psweep_dask.submissions import Submissions, array_job_ids, forget, job_ids, shown_commands


@pytest.fixture
def layout():
    return Layout("calc")


def submissions(array):
    write({"templates/calc/x": "", **machine("c", "sbatch"), "calc/runs/run-id/run.json": ""})
    files = read_job_files(
        Path("templates/calc"), Path("templates/machines"), "dollar", with_func=False
    )
    return Submissions(files.machines[0], "run-id", 3, array)


def script(*directives):
    return "#!/bin/sh\n" + "".join(f"#SBATCH {one}\n" for one in directives) + "run\n"


def lines(text):
    return [line for line in text.splitlines() if line.startswith(("submit ", "submit_array "))]


def test_single_jobs_are_a_line_each(layout):
    jobs = submissions(array=False)
    jobs.add("one", 5, script("-n 1"))
    jobs.add("two", 6, script("-n 1"))
    path = jobs.write(layout)
    assert path.name == "run_c.sh"
    assert path.stat().st_mode & 0o777 == 0o755
    assert lines(path.read_text()) == [
        "submit one  # run_seq=3 pset_seq=5",
        "submit two  # run_seq=3 pset_seq=6",
    ]


def test_an_array_has_all_that_ask_for_the_same(layout):
    jobs = submissions(array=True)
    jobs.add("one", 5, script("--time=1", "-J a1 -o out-%x-%j.txt"))
    jobs.add("two", 6, script("--time=2"))
    jobs.add("three", 7, script("--time=1", "-J a3", "-e err"))
    assert lines(jobs.write(layout).read_text()) == [
        "submit_array run-id array_c_0  # run_seq=3 pset_seq=5..7 jobs=2",
        "submit_array run-id array_c_1  # run_seq=3 pset_seq=6..6 jobs=1",
    ]
    rows = layout.array_list_path("run-id", "c", 0).read_text()
    assert rows == "one\tout-a1-%j.txt\t\nthree\tslurm-%j.out\terr\n"
    first = layout.array_path("run-id", "c", 0).read_text()
    assert "#SBATCH --time=1\n#SBATCH --job-name=psweep-run-id\n" in first
    assert "#SBATCH --job-name=psweep-run-id" in layout.array_path("run-id", "c", 1).read_text()


def test_what_no_element_can_have_is_told():
    with pytest.raises(JobscriptError, match="templates/machines/c/jobscript: '#SBATCH --array=1'"):
        submissions(array=True).add("one", 5, script("--array=1"))


@pytest.mark.parametrize(
    ("note", "ids"),
    [
        ("", []),
        ("sbatch\nSubmitted batch job 12\n", ["12"]),
        ("sbatch -p long\nwelcome\nSubmitted batch job 12 on cluster x\n", ["12"]),
        ("/opt/bin/sbatch --parsable\n12;cluster\n", ["12"]),
        ("sbatch\nno number\n", None),
        ("qsub\n12.server\n", None),
        ("sh\n12\n", None),
    ],
)
def test_ids_of_single_jobs(layout, note, ids):
    write({"calc/p/submitted_c": note})
    assert job_ids(layout.pset_folder("p")) == ids


def test_ids_in_arrays_follow_the_parts(layout):
    run = "calc/runs/run-id/array_c_0"
    write(
        {
            f"{run}.psets": "".join(f"p{number}\tout\t\n" for number in range(5)),
            f"{run}.submitted": "first=0 count=2 Submitted batch job 7\nfirst=2 count=2 8\nfirst=",
        }
    )
    found = {"p0": ["7_0"], "p1": ["7_1"], "p2": ["8_0"], "p3": ["8_1"]}
    assert array_job_ids(layout, "run-id") == found


def test_what_is_forgotten_counts_as_not_submitted_and_keeps_others_in_their_place(layout):
    run = "calc/runs/run-id/array_c_0"
    write(
        {
            f"{run}.psets": "p0\tout\t\np1\tout\t\n",
            f"{run}.submitted": "first=0 count=2 7\n",
            "calc/p0/submitted_d": "sbatch\n9\n",
            "calc/p0/ended": "exit_code=1 begun=1 ended=2 host=n\n",
        }
    )
    forget(layout, "run-id", {"p0"})
    assert array_job_ids(layout, "run-id") == {"-": ["7_0"], "p1": ["7_1"]}
    assert job_ids(layout.pset_folder("p0")) == []
    assert layout.pset_folder("p0").ended_path.read_bytes() == b""
    jobs = submissions(array=True)
    jobs.add("p0", 0, script())
    assert lines(jobs.write(layout).read_text())[0].startswith("submit_array run-id array_c_1 ")


def test_commands_are_shown_as_one_types_them(layout):
    assert shown_commands([layout.run_script_path("my c"), layout.run_script_path("d")]) == (
        "sh 'calc/run_my c.sh' or sh calc/run_d.sh"
    )
