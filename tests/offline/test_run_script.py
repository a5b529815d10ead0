from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import HOSTILE, write

from psweep_dask.offline.run_script import array_script, run_script

GOLDEN = Path(__file__).parents[1] / "golden"
SINGLE = "submit 6ba7b810-9dad-41d1-80b4-00c04fd430c8  # run_seq=1 pset_seq=6"
HOSTILE_ARRAY = shlex.quote(f"array_{HOSTILE}_0")
ARRAY = f"submit_array run-id {HOSTILE_ARRAY}  # run_seq=1 pset_seq=7..9"
OLD = "#!/bin/sh\nsubmit one  # run_seq=0\n# submit two  # run_seq=0\nsubmit_array r a  # x\necho\n"


def same_as(golden, text):
    """Compare with a script that people have read; PSWEEP_GOLDEN=write writes it again."""
    path = GOLDEN / golden
    if os.environ.get("PSWEEP_GOLDEN") == "write":
        path.write_text(text)
    return path.read_text() == text


def test_run_script_for_single_jobs_is_as_the_golden_one():
    assert same_as("run_cluster.sh", run_script("cluster", "sbatch --parsable", OLD, [SINGLE]))


def test_run_script_for_arrays_of_a_machine_with_a_hostile_name():
    assert same_as("run_hostile.sh", run_script(HOSTILE, "sbatch", "", [ARRAY]))


def test_array_script_is_as_the_golden_one():
    asked = ("#SBATCH --time=5", '#SBATCH "--comment=a b"')
    assert same_as("array.sh", array_script("cluster", asked, "psweep-6ba7b810"))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck, as .ci/run has")
@pytest.mark.parametrize(
    ("golden", "options"),
    [
        ("run_cluster.sh", []),
        ("array.sh", []),
        ("run_hostile.sh", ["--exclude=SC2016,SC2089,SC2090"]),  # its quotes and dollars are meant
    ],
)
def test_shellcheck_has_no_remark(golden, options):
    done = subprocess.run(
        ["shellcheck", *options, GOLDEN / golden], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_run_script_keeps_old_submit_lines_as_comments_once():
    lines = run_script("cluster", "sbatch", OLD, [SINGLE]).splitlines()
    again = run_script("cluster", "sbatch", "\n".join(lines), []).splitlines()
    assert [line for line in lines if "# run_seq=0" in line or "# x" in line] == [
        "# submit one  # run_seq=0",
        "# submit two  # run_seq=0",
        "# submit_array r a  # x",
    ]
    assert "echo" not in lines
    assert f"# {SINGLE}" in again


@pytest.fixture
def study():
    """A study whose submissions are noted in the file calls, and refused if refuse is there."""
    subcmd = "../../fake.sh --flag"
    write(
        {
            "fake.sh": "#!/bin/sh\n[ ! -e ../../refuse ] || exit 1\n"
            'echo "$PWD: $*" | sed "s|.*/calc/||" >>../../calls\necho Submitted batch job 7\n',
            **{f"calc/{name}/jobscript_{HOSTILE}": "" for name in "abcde"},
            f"calc/run_{HOSTILE}.sh": run_script(
                HOSTILE, subcmd, "", [f"submit {name}  # " for name in "abcde"]
            ),
        }
    )
    Path("fake.sh").chmod(0o755)


def start(code=0):
    done = subprocess.run(
        ["sh", f"calc/run_{HOSTILE}.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def test_submit_runs_once_for_each_job_in_its_folder(study):
    assert start().stdout == 5 * "Submitted batch job 7\n"
    assert start().stdout.endswith("nothing to submit; 5 jobs were submitted before\n")
    calls = Path("calls").read_text().splitlines()
    assert calls == [f"{name}: --flag jobscript_{HOSTILE}" for name in "abcde"]
    noted = Path("calc/a", f"submitted_{HOSTILE}").read_text()
    command, slurm, answer = noted.splitlines()
    assert (command, answer) == ("../../fake.sh --flag", "Submitted batch job 7")
    assert slurm.startswith("slurm=")


def test_submit_gives_up_after_three_refusals_in_a_row_and_goes_on_later(study):
    write({"refuse": ""})
    printed = start(code=1).stderr.splitlines()
    assert len(printed) == 3
    assert "../../fake.sh --flag failed in " in printed[0]
    assert printed[0].endswith("/calc/a; start this again to go on")
    Path("refuse").unlink()
    start()
    assert len(Path("calls").read_text().splitlines()) == 5


def test_submit_counts_refusals_at_the_end(study):
    write({"refuse": "", "calc/a/ended": "exit_code=1", "calc/c/ended": "exit_code=1"})
    write({f"calc/{name}/ended": "exit_code=1" for name in "de"})
    printed = start(code=1).stderr.splitlines()
    assert printed[-1].endswith("not all was submitted (1 failed); start this again to go on")


def test_submit_goes_on_after_a_folder_that_is_gone(study):
    shutil.rmtree("calc/b")
    assert "calc/b" in start(code=1).stderr
    assert len(Path("calls").read_text().splitlines()) == 4


def test_lock_of_a_run_script_lets_one_process_submit(study):
    write({"fake.sh": "#!/bin/sh\necho >>../../calls\nsleep 0.3\n"})
    command = ["sh", f"calc/run_{HOSTILE}.sh"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: Path("calls").exists())
    assert "is at it already; if not, remove " in start(code=1).stderr
    assert first.wait() == 0
    start()
    assert len(Path("calls").read_text().splitlines()) == 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_lock_of_a_killed_run_script_is_taken_over(study, number):
    write({"fake.sh": "#!/bin/sh\necho >>../../calls\nsleep 0.3\n"})
    command = ["sh", f"calc/run_{HOSTILE}.sh"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: Path("calls").exists())
        process.send_signal(number)
    start()
    noted = [Path("calc", name, f"submitted_{HOSTILE}") for name in "abcde"]
    assert all(path.stat().st_size for path in noted)
    assert not Path("calc", f".run_{HOSTILE}.lock").exists()


def test_submit_counts_a_job_that_runs_at_once_and_fails_as_submitted(study):
    write({"refuse": ""})
    write({f"calc/{name}/ended": "exit_code=1" for name in "abcde"})
    done = start()
    assert done.stderr == ""
    assert "5 of 5 jobs have run and failed; psweep-dask collect tells why" in done.stdout
    assert "5 jobs were submitted before" in start().stdout
    assert not Path("calls").exists()


def arrays(machine):
    """Give a machine an array with the psets of the study."""
    write(
        {
            "sbatch.sh": '#!/bin/sh\necho "$1 $2" >>../../calls\necho Submitted batch job 8\n',
            f"calc/runs/r/array_{machine}_0.psets": "".join(
                f"{name}\tin\tout\n" for name in "abcde"
            ),
            f"calc/run_{machine}.sh": run_script(
                machine,
                "sh ../../../sbatch.sh",
                "",
                [f"submit_array r array_{machine}_0  # "],
            ),
        }
    )


def test_submit_leaves_out_what_another_machine_has_in_arrays_and_as_jobs(
    study,
):
    write({f"calc/{name}/submitted_other": "sbatch\nslurm=\n7\n" for name in "bc"})
    arrays("big")
    printed = subprocess.check_output(["sh", "calc/run_big.sh"], text=True)
    assert "2 jobs were submitted to another machine before, and were left out" in printed
    assert Path("calc/calls").read_text() == "--array=0-0,3-4 array_big_0\n"
    for name in "bc":
        Path(f"calc/{name}/submitted_other").unlink()
    printed = start().stdout  # of all five single jobs, since the array was noted as a whole
    assert "5 jobs were submitted to another machine before" in printed
    assert not Path("calls").exists()


def test_array_of_which_another_machine_has_all_is_not_submitted(study):
    arrays("big")
    arrays("big_1")
    assert "Submitted" in subprocess.check_output(["sh", "calc/run_big.sh"], text=True)
    printed = subprocess.check_output(["sh", "calc/run_big_1.sh"], text=True)
    assert "5 jobs were submitted to another machine before" in printed
    assert "5 jobs were submitted before" in subprocess.check_output(
        ["sh", "calc/run_big.sh"], text=True
    )
    assert Path("calc/calls").read_text() == "--array=0-4 array_big_0\n"


@pytest.mark.parametrize("others", [False, True])
def test_array_has_no_element_for_psets_that_were_prepared_again(others, study):
    arrays("big")
    path = Path("calc/runs/r/array_big_0.psets")
    path.write_text(path.read_text().replace("a\t", "-\t").replace("d\t", "-\t"))
    if not others:
        Path(f"calc/run_{HOSTILE}.sh").unlink()
    printed = subprocess.check_output(["sh", "calc/run_big.sh"], text=True)
    assert Path("calc/calls").read_text() == "--array=1-2,4-4 array_big_0\n"
    assert "another machine" not in printed
