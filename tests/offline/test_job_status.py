from __future__ import annotations

import pytest

from psweep_dask.hpc.slurm import JobState
from psweep_dask.offline.job_status import SlurmQueue, status_of_jobs
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
    return [one if isinstance(one, SubmittedJob) else SubmittedJob("lab", one) for one in ids]


@pytest.mark.parametrize(
    ("ids", "doing"),
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
def test_one_job_that_may_live_is_enough(ids, doing):
    assert status_of_jobs(jobs(*ids), QUEUE).doing == doing


def test_how_jobs_have_ended_is_told():
    standing = status_of_jobs(jobs("3", "9"), QUEUE)
    assert standing.detail == "SLURM says that 3 is TIMEOUT, 9 is unknown"
    assert not standing.completed
    assert status_of_jobs(jobs("6"), QUEUE).completed
    assert status_of_jobs(jobs("7"), QUEUE).failed


def test_what_the_user_knows_counts_for_what_was_submitted():
    standing = status_of_jobs([OTHER], None, over=True)
    assert (standing.doing, standing.detail) == ("ended", "that is what was said")
    assert status_of_jobs([], None, over=True).doing == "not known to be submitted"
    assert status_of_jobs([OTHER], None).doing == "submitted"
