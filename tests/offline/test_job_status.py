from __future__ import annotations

import pytest
from helpers.fake_commands import command

from psweep_dask.hpc.slurm import JobState
from psweep_dask.offline.job_status import SlurmQueue, read_queue, status_of_jobs
from psweep_dask.offline.submissions import SubmittedJob

QUEUE = SlurmQueue(
    "lab",
    {
        "1": JobState("RUNNING"),
        "2": JobState("PENDING"),
        "3": JobState("TIMEOUT"),
        "4": JobState("COMPLETING"),
        "5_7": JobState("PENDING"),
        "6": JobState("COMPLETED"),
        "7": JobState("FAILED"),
    },
)
FOREIGN, OTHER = SubmittedJob("elsewhere", "6"), SubmittedJob("", "")


def jobs(*ids):
    return [job if isinstance(job, SubmittedJob) else SubmittedJob("lab", job) for job in ids]


@pytest.mark.parametrize(
    ("ids", "state"),
    [
        ([], "not known to be submitted"),
        (["1", "3"], "running"),
        (["2", "3"], "pending"),
        (["4"], "running"),
        (["5_7"], "pending"),
        (["5_8"], "ended"),
        ([OTHER], "submitted"),
        ([FOREIGN], "submitted"),
        (["3", FOREIGN], "submitted"),
        (["1", FOREIGN], "running"),
    ],
)
def test_job_state_is_that_of_the_job_that_may_still_run(ids, state):
    assert status_of_jobs(jobs(*ids), QUEUE).state == state


def test_job_end_is_what_slurm_says():
    status = status_of_jobs(jobs("3", "9"), QUEUE)
    assert status.detail == "SLURM says that 3 is TIMEOUT, 9 is unknown"
    assert status.succeeded is None
    assert status_of_jobs(jobs("6"), QUEUE).succeeded is True
    assert status_of_jobs(jobs("7"), QUEUE).succeeded is False
    assert status_of_jobs(jobs("7", "6"), QUEUE).succeeded is True


def test_over_ends_only_what_was_submitted():
    status = status_of_jobs([OTHER], None, over=True)
    assert status.state == "ended"
    assert status.detail == "the user says that no job is pending or running"
    assert status_of_jobs([], None, over=True).state == "not known to be submitted"
    assert status_of_jobs([OTHER], None).state == "submitted"


SCONTROL = "echo 'ClusterName             = lab'"
SQUEUE = "echo '7|N/A|RUNNING|None'; echo '8|3|PENDING|Priority'"


def test_read_queue_has_the_jobs_and_the_name_of_the_slurm(bin_dir):
    command(bin_dir, "scontrol", SCONTROL)
    command(bin_dir, "squeue", SQUEUE)
    queue = read_queue()
    assert queue.slurm == "lab"
    states = {job_id: state.state for job_id, state in queue.states.items()}
    assert states == {"7": "RUNNING", "8_3": "PENDING"}


@pytest.mark.parametrize("broken", ["scontrol", "squeue"])
def test_read_queue_is_none_where_slurm_does_not_answer(bin_dir, broken):
    for name, text in (("scontrol", SCONTROL), ("squeue", SQUEUE)):
        command(bin_dir, name, "exit 1" if name == broken else text)
    assert read_queue() is None


def test_read_queue_goes_through_a_remote_shell(bin_dir, study_folder):
    """The shell leads to a machine where these commands are in another folder."""
    (study_folder / "remote").mkdir()
    command(study_folder / "remote", "scontrol", SCONTROL)
    command(study_folder / "remote", "squeue", SQUEUE)
    command(bin_dir, "fake-ssh", f'shift; PATH="{study_folder}/remote:$PATH" sh -c "$1"')
    queue = read_queue(["fake-ssh", "host"])
    assert (queue.slurm, set(queue.states)) == ("lab", {"7", "8_3"})
