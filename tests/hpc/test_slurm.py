from __future__ import annotations

import pytest
from helpers.fake_commands import command
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.hpc import slurm
from psweep_dask.hpc.slurm import JobState, allocation_variables, parse_states, walltime_seconds

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


def test_states_are_read_from_squeue():
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


def test_states_of_no_jobs_are_none():
    assert parse_states("") == {}


@given(st.text(st.characters(exclude_categories=["Cc", "Zl", "Zp", "Cs"]), min_size=1))
def test_states_may_have_any_character_in_their_reason(reason):
    (state,) = parse_states(f"7|PENDING|{reason}|1:00|2:00").values()
    assert (state.left, state.limit) == (60.0, 120.0)
    assert state.reason == ("" if reason in ("None", "(null)") else reason)


@pytest.mark.parametrize(
    "state", sorted(slurm.WAITING_STATES | slurm.RUNNING_STATES | {"COMPLETED", "NODE_FAIL"})
)
def test_state_waits_or_runs_or_neither(state):
    job = JobState(state)
    assert (job.waits, job.runs) == (state in slurm.WAITING_STATES, state in slurm.RUNNING_STATES)
    assert not (job.waits and job.runs)


def test_state_of_a_job_that_the_queue_does_not_list_is_ended():
    assert not slurm.ENDED.waits
    assert not slurm.ENDED.runs


def test_slurm_that_is_not_installed_says_nothing_of_jobs(only_bin_dir):
    assert not slurm.is_installed()
    assert slurm.job_states("psweep-12345678") is None
    assert slurm.job_state("7") is None


def test_slurm_that_does_not_answer_says_nothing_of_jobs(only_bin_dir):
    command(only_bin_dir, "squeue", "echo 17\\|RUNNING\\|None\\|1:00\\|1:00; exit 1")
    assert slurm.is_installed()
    assert slurm.job_states("psweep-12345678") is None
    assert slurm.job_state("17") is None


def test_slurm_that_is_too_slow_says_nothing_of_jobs(only_bin_dir, monkeypatch):
    monkeypatch.setattr(slurm, "COMMAND_TIMEOUT_SECONDS", 0.1)
    command(only_bin_dir, "squeue", "exec /bin/sleep 60")
    command(only_bin_dir, "scancel", "exec /bin/sleep 60")
    assert slurm.job_states("psweep-12345678") is None
    assert "timed out" in slurm.cancel(["17"])


def test_slurm_with_an_empty_queue_says_that_there_are_no_jobs(only_bin_dir):
    command(only_bin_dir, "squeue", "exit 0")
    assert slurm.job_states("psweep-12345678") == {}
    assert slurm.job_state("17") is None


def test_jobs_of_user_have_elements_of_arrays_and_no_banner(only_bin_dir):
    lines = "Welcome to the cluster\\n17|N/A|RUNNING|None\\n18|3|PENDING|Resources|of x"
    command(only_bin_dir, "squeue", f"printf '{lines}\\n'")
    states = {"17": JobState("RUNNING", "None"), "18_3": JobState("PENDING", "Resources|of x")}
    assert slurm.jobs_of_user() == states
    shell = ["/bin/sh", "-c"]  # in the place of ssh
    assert slurm.jobs_of_user(shell) == states
    command(only_bin_dir, "squeue", "exit 1")
    assert slurm.jobs_of_user() is None


def test_cluster_name_is_in_the_configuration(only_bin_dir):
    assert slurm.cluster_name() is None
    command(
        only_bin_dir, "scontrol", "echo 'CacheGroups = 0'; echo 'ClusterName             = lab'"
    )
    assert slurm.cluster_name() == "lab"
    assert slurm.cluster_name(["/bin/sh", "-c"]) == "lab"


def test_remedy_names_the_keys_to_correct():
    assert slurm.remedy_for("JobQueue job submission failed: Invalid partition name specified") == (
        "correct queue: below jobqueue: in info.yaml"
    )
    assert slurm.remedy_for("Requested node configuration is not available") == (
        "correct cores: below jobqueue: in info.yaml"
    )
    assert slurm.remedy_for("something else") == "correct info.yaml"


def test_cancel_returns_the_error_of_scancel(only_bin_dir):
    assert "scancel" in slurm.cancel(["17"])
    command(only_bin_dir, "scancel", "echo 'Access denied' >&2; exit 1")
    assert slurm.cancel(["17"]) == "Access denied"
    assert slurm.cancel_by_name("psweep-12345678") == "Access denied"
    command(only_bin_dir, "scancel", "exit 0")
    assert slurm.cancel(["17"]) is None


def test_allocation_variables_are_without_wishes_of_the_user():
    leaking = {"SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CPU_BIND", "SLURMD_NODENAME"}
    leaking |= {"SRUN_DEBUG", "SLURM_TRES_PER_TASK", "SLURM_CONF_SERVER"}
    kept = {"SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "HOME", "MY_SLURM_X", "slurm_x"}
    assert allocation_variables(dict.fromkeys(leaking | kept, "1")) == sorted(leaking)


@given(st.integers(2**26, 2**45), st.integers(1, 128))
def test_memory_of_workers_is_less_than_that_of_their_job(bytes_, processes):
    together = slurm.worker_memory(bytes_, processes) * processes
    assert 0.7 * bytes_ < together < bytes_
    assert bytes_ - together >= min(256 * slurm.MIB, bytes_ // 4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("30:15", 1815),
        ("2:00:00", 7200),
        ("02:00:00", 7200),
        ("1-12", 129600),
        ("1-00:30", 88200),
        ("2-03:04:05", 183845),
        ("0:00", 0),
        (" 1:00\n", 60),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("NOT_SET", None),
        ("INVALID", None),
        ("N/A", None),
        ("", None),
        ("2h", None),
        ("1:2:3:4", None),
        ("-1", None),
        ("1-", None),
        ("1.5", None),
        ("9" * 5000, None),
        ("\u0661", None),
    ],
)
def test_walltime_is_read_as_slurm_writes_it(text, seconds):
    assert walltime_seconds(text) == seconds


@given(seconds=st.integers(0, 10**8))
def test_walltime_is_the_same_however_it_is_written(seconds):
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    for text in (f"{days}-{h:02}:{m:02}:{s:02}", f"{hours}:{m:02}:{s:02}", f"{minutes}:{s:02}"):
        assert walltime_seconds(text) == seconds
    assert walltime_seconds(f"{minutes}") == minutes * 60
    assert walltime_seconds(f"{days}-{h}:{m}") == minutes * 60
    assert walltime_seconds(f"{days}-{h}") == hours * 3600


@given(text=st.text())
def test_walltime_of_any_text_is_a_number_or_none(text):
    seconds = walltime_seconds(text)
    assert seconds is None or seconds >= 0
