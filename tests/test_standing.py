from __future__ import annotations

import pytest
from offline import write

from psweep_dask.layout import Layout
from psweep_dask.slurm import JobState
from psweep_dask.standing import Standing, Standings, standing_of

QUEUE = {
    "1": JobState("RUNNING"),
    "2": JobState("PENDING"),
    "3": JobState("TIMEOUT"),
    "4": JobState("COMPLETING"),
    "5_7": JobState("PENDING"),
}


@pytest.mark.parametrize(
    ("ids", "doing"),
    [
        (["1", "3"], "running"),
        (["2", "3"], "pending"),
        (["4"], "running"),
        (["5_7"], "pending"),
        (["5_8"], "ended"),
        (None, "submitted"),
    ],
)
def test_one_job_that_lives_is_enough(ids, doing):
    assert standing_of(ids, QUEUE).doing == doing


def test_how_jobs_have_ended_is_told():
    detail = standing_of(["3", "9"], QUEUE).detail
    assert detail == "SLURM says 3 TIMEOUT, 9 unknown"


def test_single_jobs_and_elements_of_arrays_are_found():
    write(
        {
            "calc/one/submitted_c": "sbatch\n2\n",
            "calc/runs/run-id/array_c_0.psets": "two\tout\t\n",
            "calc/runs/run-id/array_c_0.submitted": "first=0 count=1 5\n",
            "calc/three/submitted_c": "sh\n\n",
        }
    )
    standings = Standings(Layout("calc"), QUEUE, over=False)
    names = ["one", "two", "three", "four"]
    doing = [standings.of("run-id", name).doing for name in names]
    assert doing == ["pending", "ended", "submitted", "not known to be submitted"]


def test_what_the_user_knows_counts_for_what_was_submitted():
    write({"calc/one/submitted_c": "qsub\n7.server\n"})
    standings = Standings(Layout("calc"), None, over=True)
    assert standings.of("run-id", "one") == Standing("ended", "that is what was said")
    assert standings.of("run-id", "two").doing == "not known to be submitted"
