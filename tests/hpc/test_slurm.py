from __future__ import annotations

import pytest
from helpers.fake_commands import command
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.hpc import slurm
from psweep_dask.hpc.slurm import JobState, allocation_variables, parse_states

# Of squeue: id, state, reason, time that is left, time limit.
ANSWER = """\
17|PENDING|Resources|1:00:00|1:00:00
18|RUNNING|None|59:59|1:00:00
19|RUNNING|None|UNLIMITED|UNLIMITED
20|TIMEOUT|TimeLimit|0:00|1:00
21|COMPLETING|NonZeroExitCode|INVALID|2-00:00:00
22|PENDING|Nodes required for job are DOWN, DRAINED or reserved for jobs in higher|1:00|1:00
23|PENDING|ReqNodeNotAvail, UnavailableNodes:n[1-3|1:00|1:00
24|CANCELLED|(null)|1-02:03:04|NOT_SET
"""


@pytest.fixture
def bin_dir(tmp_path, monkeypatch):
    """The only folder in which commands are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_parse_states():
    assert parse_states(ANSWER) == {
        "17": JobState("PENDING", "Resources", 3600.0, 3600.0),
        "18": JobState("RUNNING", "", 3599.0, 3600.0),
        "19": JobState("RUNNING", "", None, None),
        "20": JobState("TIMEOUT", "TimeLimit", 0.0, 60.0),
        "21": JobState("COMPLETING", "NonZeroExitCode", None, 172800.0),
        "22": JobState(
            "PENDING",
            "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher",
            60.0,
            60.0,
        ),
        "23": JobState("PENDING", "ReqNodeNotAvail, UnavailableNodes:n[1-3", 60.0, 60.0),
        "24": JobState("CANCELLED", "", 93784.0, None),
    }


def test_no_jobs_are_no_states():
    assert parse_states("") == {}


@given(st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1))
def test_a_reason_may_hold_any_character(reason):
    (state,) = parse_states(f"7|PENDING|{reason}|1:00|2:00").values()
    assert (state.left, state.limit) == (60.0, 120.0)
    assert state.reason == ("" if reason in ("None", "(null)") else reason)


@pytest.mark.parametrize(
    "state", sorted(slurm.WAITING_STATES | slurm.RUNNING_STATES | {"COMPLETED", "NODE_FAIL"})
)
def test_a_job_waits_or_runs_or_neither(state):
    one = JobState(state)
    assert (one.waits, one.runs) == (state in slurm.WAITING_STATES, state in slurm.RUNNING_STATES)
    assert not (one.waits and one.runs)


def test_a_job_that_the_queue_has_forgotten_has_ended():
    assert not slurm.ENDED.waits
    assert not slurm.ENDED.runs


def test_a_queue_that_cannot_be_asked_tells_nothing(bin_dir):
    assert not slurm.is_installed()
    assert slurm.job_states("psweep-12345678") is None
    assert slurm.job_state("7") is None


def test_a_controller_that_does_not_answer_tells_nothing(bin_dir):
    command(bin_dir, "squeue", "echo 17\\|RUNNING\\|None\\|1:00\\|1:00; exit 1")
    assert slurm.is_installed()
    assert slurm.job_states("psweep-12345678") is None
    assert slurm.job_state("17") is None


def test_a_controller_that_is_too_slow_tells_nothing(bin_dir, monkeypatch):
    monkeypatch.setattr(slurm, "COMMAND_TIMEOUT_SECONDS", 0.1)
    command(bin_dir, "squeue", "exec /bin/sleep 60")
    command(bin_dir, "scancel", "exec /bin/sleep 60")
    assert slurm.job_states("psweep-12345678") is None
    assert "timed out" in slurm.cancel(["17"])


def test_an_empty_queue_is_no_silence(bin_dir):
    command(bin_dir, "squeue", "exit 0")
    assert slurm.job_states("psweep-12345678") == {}
    assert slurm.job_state("17") is None


def test_what_keeps_jobs_from_being_cancelled_is_told(bin_dir):
    assert "scancel" in slurm.cancel(["17"])
    command(bin_dir, "scancel", "echo 'Access denied' >&2; exit 1")
    assert slurm.cancel(["17"]) == "Access denied"
    assert slurm.cancel_by_name("psweep-12345678") == "Access denied"
    command(bin_dir, "scancel", "exit 0")
    assert slurm.cancel(["17"]) is None


def test_variables_of_an_allocation_are_told_from_wishes_of_the_user():
    leaking = {"SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CPU_BIND", "SLURMD_NODENAME"}
    leaking |= {"SRUN_DEBUG", "SLURM_TRES_PER_TASK", "SLURM_CONF_SERVER"}
    kept = {"SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "HOME", "MY_SLURM_X", "slurm_x"}
    assert allocation_variables(dict.fromkeys(leaking | kept, "1")) == sorted(leaking)


@given(st.integers(2**26, 2**45), st.integers(1, 128))
def test_workers_are_ended_by_their_nannies_before_slurm_ends_the_job(bytes_, processes):
    together = slurm.worker_memory(bytes_, processes) * processes
    assert 0.7 * bytes_ < together < bytes_
    assert bytes_ - together >= min(256 * slurm.MIB, bytes_ // 4)
