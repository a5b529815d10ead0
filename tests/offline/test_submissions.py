from __future__ import annotations

from pathlib import Path

import pytest
from helpers.offline_study import machine, write

from psweep_dask._format import format_commands
from psweep_dask.hpc.jobscript import JobscriptError
from psweep_dask.offline.batch_machine import read_batch_machines
from psweep_dask.offline.submissions import (
    RunScriptBuilder,
    SubmittedJob,
    array_jobs,
    clear_submissions,
    single_jobs,
)
from psweep_dask.params.pset import pset_id
from psweep_dask.storage.layout import Layout
from psweep_dask.storage.plan import Plan


@pytest.fixture
def layout():
    return Layout("calc")


def builder(array):
    write({**machine("c", "sbatch"), "calc/runs/run-id/run.json": ""})
    (batch_machine,) = read_batch_machines(Path("templates/machines"), "dollar", with_func=False)
    return RunScriptBuilder(batch_machine, array)


def plan(*seqs):
    return Plan("run-id", 3, list(seqs), [{}] * len(seqs), bytes(20 * len(seqs)))


PLAN = plan(5, 6, 7)
FIRST, SECOND, THIRD = (pset_id("run-id", seq) for seq in (5, 6, 7))


def script(*directives):
    return "#!/bin/sh\n" + "".join(f"#SBATCH {options}\n" for options in directives) + "run\n"


def lines(text):
    return [line for line in text.splitlines() if line.startswith(("submit ", "submit_array "))]


def test_run_script_has_a_line_for_each_single_job(layout):
    jobs = builder(array=False)
    jobs.add(PLAN, 5, script("-n 1"))
    jobs.add(PLAN, 6, script("-n 1"))
    path = jobs.write(layout)
    assert path.name == "run_c.sh"
    assert path.stat().st_mode & 0o777 == 0o755
    assert lines(path.read_text()) == [
        f"submit {FIRST}  # run_seq=3 pset_seq=5",
        f"submit {SECOND}  # run_seq=3 pset_seq=6",
    ]


def test_array_has_all_jobs_that_ask_for_the_same(layout):
    jobs = builder(array=True)
    jobs.add(PLAN, 5, script("--time=1", "-J a%j -o out-%x-%j.txt"))
    jobs.add(PLAN, 6, script("--time=2"))
    jobs.add(PLAN, 7, script("--time=1", "-e err-%x", "-i in"))
    assert lines(jobs.write(layout).read_text()) == [
        "submit_array run-id array_c_0  # run_seq=3 pset_seq=5..7 jobs=2",
        "submit_array run-id array_c_1  # run_seq=3 pset_seq=6..6 jobs=1",
    ]
    rows = layout.run_folder("run-id").array_list_path("c", 0).read_text()
    out = "out-a%%j-%j.txt"
    assert rows == (
        f"{FIRST}\t/dev/null\t{out}\t{out}\n{THIRD}\tin\tslurm-%j.out\terr-jobscript_c\n"
    )
    first = layout.run_folder("run-id").array_path("c", 0).read_text()
    assert "#SBATCH --time=1\n#SBATCH --job-name=psweep-run-id\n" in first
    assert (
        "#SBATCH --job-name=psweep-run-id"
        in layout.run_folder("run-id").array_path("c", 1).read_text()
    )


def test_array_element_with_an_array_option_is_an_error():
    with pytest.raises(JobscriptError, match="templates/machines/c/jobscript: '#SBATCH --array=1'"):
        builder(array=True).add(PLAN, 5, script("--array=1"))


@pytest.mark.parametrize(
    ("submitted", "jobs"),
    [
        ("", []),
        ("sbatch\nslurm=lab\nSubmitted batch job 12\n", [SubmittedJob("lab", "12")]),
        (
            "sbatch -p long\nslurm=lab\nwelcome\nSubmitted batch job 12 on cluster x\n",
            [SubmittedJob("lab", "12")],
        ),
        ("/opt/bin/sbatch --parsable\nslurm=lab\n12;cluster\n", [SubmittedJob("lab", "12")]),
        ("sbatch\nslurm=lab\nno number\n", [SubmittedJob("", "")]),
        ("qsub\nslurm=\n12.server\n", [SubmittedJob("", "")]),
        ("sh\nslurm=lab\n12\n", [SubmittedJob("", "12")]),
    ],
)
def test_single_jobs_are_read_from_the_files_of_run_scripts(layout, submitted, jobs):
    write(
        {"calc/p/submitted_c": submitted, "calc/p/jobscript_c": "", "calc/p/submitted_x": "sh\n\n"}
    )
    assert single_jobs(layout.pset_folder("p")) == jobs


def test_array_jobs_follow_the_parts_of_an_array(layout):
    run = "calc/runs/run-id/array_c_0"
    write(
        {
            f"{run}.psets": "".join(f"p{number}\tout\t\n" for number in range(5)),
            f"{run}.submitted": "first=0 count=2 slurm=lab Submitted batch job 7\n"
            "first=2 count=2 slurm=lab 8\nfirst=",
        }
    )
    ids = {"p0": "7_0", "p1": "7_1", "p2": "8_0", "p3": "8_1"}
    jobs = array_jobs(layout.run_folder("run-id"))
    assert jobs == {name: [SubmittedJob("lab", job_id)] for name, job_id in ids.items()}


def test_clear_submissions_keeps_other_files_and_the_place_of_array_elements(layout):
    run = "calc/runs/run-id/array_c_0"
    kept = {"submitted_results.csv": "precious", "record.pk": "a record", "jobscript_d": "x"}
    write(
        {
            f"{run}.psets": f"{FIRST}\tout\t\np1\tout\t\n",
            f"{run}.submitted": "first=0 count=2 slurm=lab 7\n",
            f"calc/{FIRST}/submitted_d": "sbatch\nslurm=lab\n9\n",
            f"calc/{FIRST}/ended": "exit_code=1 begun=1 ended=2 host=n\n",
            f"calc/{FIRST}/result.json": '{"y": 1}',
            **{f"calc/{FIRST}/{name}": content for name, content in kept.items()},
        }
    )
    clear_submissions(layout, plan(5), with_func=False)
    assert array_jobs(layout.run_folder("run-id")) == {
        "-": [SubmittedJob("lab", "7_0")],
        "p1": [SubmittedJob("lab", "7_1")],
    }
    folder = layout.pset_folder(FIRST)
    assert single_jobs(folder) == []
    assert folder.ended_path.read_bytes() == folder.result_path.read_bytes() == b""
    assert {name: (folder.path / name).read_text() for name in kept} == kept
    jobs = builder(array=True)
    jobs.add(PLAN, 5, script())
    assert lines(jobs.write(layout).read_text())[0].startswith("submit_array run-id array_c_1 ")


def test_commands_are_shown_as_one_types_them(layout):
    assert format_commands([layout.run_script_path("my c"), layout.run_script_path("d")]) == (
        "sh 'calc/run_my c.sh' or sh calc/run_d.sh"
    )
