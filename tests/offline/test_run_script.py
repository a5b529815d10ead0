from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from helpers.driver_process import wait_until
from helpers.offline_study import HOSTILE, write

from psweep_dask.hpc.jobscript import Directives
from psweep_dask.offline.run_script import SubmitLine, array_script, run_script

GOLDEN = Path(__file__).parents[1] / "golden"
SINGLE = SubmitLine(("submit", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"), "run_seq=1 pset_seq=6")
ARRAY = SubmitLine(("submit_array", "run-id", f"array_{HOSTILE}_0"), "run_seq=1 pset_seq=7..9")
OLD = "#!/bin/sh\nsubmit one  # run_seq=0\n# submit two  # run_seq=0\nsubmit_array r a  # x\necho\n"


def same_as(golden, text):
    """Compare with what was looked at; PSWEEP_GOLDEN=write writes it anew."""
    path = GOLDEN / golden
    if os.environ.get("PSWEEP_GOLDEN") == "write":
        path.write_text(text)
    return path.read_text() == text


def test_the_script_for_single_jobs():
    assert same_as("run_cluster.sh", run_script("cluster", "sbatch --parsable", OLD, [SINGLE]))


def test_the_script_for_arrays_of_a_machine_with_a_hostile_name():
    assert same_as("run_hostile.sh", run_script(HOSTILE, "sbatch", "", [ARRAY]))


def test_the_script_of_an_array():
    asked = Directives(("#SBATCH --time=5", '#SBATCH "--comment=a b"'))
    assert same_as("array.sh", array_script("cluster", asked, "psweep-6ba7b810"))


def test_old_submissions_are_comments_once_and_all_else_is_written_anew():
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
                HOSTILE, subcmd, "", [SubmitLine(("submit", name), "") for name in "abcde"]
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


def test_each_job_is_submitted_once_from_its_folder(study):
    assert start().stdout == 5 * "Submitted batch job 7\n"
    assert start().stdout.endswith("nothing to submit; 5 jobs were submitted before\n")
    calls = Path("calls").read_text().splitlines()
    assert calls == [f"{name}: --flag jobscript_{HOSTILE}" for name in "abcde"]
    noted = Path("calc/a", f"submitted_{HOSTILE}").read_text()
    command, slurm, answer = noted.splitlines()
    assert (command, answer) == ("../../fake.sh --flag", "Submitted batch job 7")
    assert slurm.startswith("slurm=")


def test_after_three_refusals_in_a_row_it_gives_up_and_goes_on_later(study):
    write({"refuse": ""})
    said = start(code=1).stderr.splitlines()
    assert len(said) == 3
    assert "../../fake.sh --flag failed in " in said[0]
    assert said[0].endswith("/calc/a; start this again to go on")
    Path("refuse").unlink()
    start()
    assert len(Path("calls").read_text().splitlines()) == 5


def test_one_refusal_is_told_at_the_end(study):
    write({"refuse": "", "calc/a/ended": "exit_code=1", "calc/c/ended": "exit_code=1"})
    write({f"calc/{name}/ended": "exit_code=1" for name in "de"})
    said = start(code=1).stderr.splitlines()
    assert said[-1].endswith("not all was submitted (1 failed); start this again to go on")


def test_a_folder_that_is_gone_keeps_no_other_from_being_submitted(study):
    shutil.rmtree("calc/b")
    assert "calc/b" in start(code=1).stderr
    assert len(Path("calls").read_text().splitlines()) == 4


def test_two_at_once_submit_each_job_once(study):
    write({"fake.sh": "#!/bin/sh\necho >>../../calls\nsleep 0.3\n"})
    command = ["sh", f"calc/run_{HOSTILE}.sh"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: Path("calls").exists())
    assert "is at it already; if not, remove " in start(code=1).stderr
    assert first.wait() == 0
    start()
    assert len(Path("calls").read_text().splitlines()) == 5


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_was_killed_can_be_started_again(study, number):
    write({"fake.sh": "#!/bin/sh\necho >>../../calls\nsleep 0.3\n"})
    command = ["sh", f"calc/run_{HOSTILE}.sh"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: Path("calls").exists())
        process.send_signal(number)
    start()
    noted = [Path("calc", name, f"submitted_{HOSTILE}") for name in "abcde"]
    assert all(path.stat().st_size for path in noted)
    assert not Path("calc", f".run_{HOSTILE}.lock").exists()


def test_a_job_that_runs_at_once_and_fails_was_submitted(study):
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
                [SubmitLine(("submit_array", "r", f"array_{machine}_0"), "")],
            ),
        }
    )


def test_what_another_machine_has_is_left_out_of_an_array_and_what_is_in_one_is_not_submitted(
    study,
):
    write({f"calc/{name}/submitted_other": "sbatch\nslurm=\n7\n" for name in "bc"})
    arrays("big")
    said = subprocess.check_output(["sh", "calc/run_big.sh"], text=True)
    assert "2 jobs were submitted to another machine before, and were left out" in said
    assert Path("calc/calls").read_text() == "--array=0-0,3-4 array_big_0\n"
    for name in "bc":
        Path(f"calc/{name}/submitted_other").unlink()
    said = start().stdout  # of all five single jobs, since the array was noted as a whole
    assert "5 jobs were submitted to another machine before" in said
    assert not Path("calls").exists()


def test_an_array_of_which_another_machine_has_all_is_not_submitted(study):
    arrays("big")
    arrays("big_1")
    assert "Submitted" in subprocess.check_output(["sh", "calc/run_big.sh"], text=True)
    said = subprocess.check_output(["sh", "calc/run_big_1.sh"], text=True)
    assert "5 jobs were submitted to another machine before" in said
    assert "5 jobs were submitted before" in subprocess.check_output(
        ["sh", "calc/run_big.sh"], text=True
    )
    assert Path("calc/calls").read_text() == "--array=0-4 array_big_0\n"


@pytest.mark.parametrize("others", [False, True])
def test_psets_that_were_prepared_anew_since_are_no_elements(others, study):
    arrays("big")
    path = Path("calc/runs/r/array_big_0.psets")
    path.write_text(path.read_text().replace("a\t", "-\t").replace("d\t", "-\t"))
    if not others:
        Path(f"calc/run_{HOSTILE}.sh").unlink()
    said = subprocess.check_output(["sh", "calc/run_big.sh"], text=True)
    assert Path("calc/calls").read_text() == "--array=1-2,4-4 array_big_0\n"
    assert "another machine" not in said
