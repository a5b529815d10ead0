from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dask.config
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psweep_dask.errors import PsweepError
from psweep_dask.hpc.machine import MACHINES_DIR, Machine, machine_names, read_machine
from psweep_dask.hpc.machine_schema import CLUSTERS, MachineError
from psweep_dask.hpc.slurm import walltime_seconds

DESIGN = """
subcmd: sbatch                  # offline: submits jobscript
host: login.hpc.example.org     # push and pull
cluster: slurm
jobqueue:
  queue: long
  cores: 4
  processes: 4
  memory: 8GiB
  walltime: "02:00:00"
jobs: 10
"""


def write(text: str | bytes, name: str = "big", machines_dir: str = MACHINES_DIR) -> Path:
    info_path = Path(machines_dir, name, "info.yaml")
    info_path.parent.mkdir(parents=True, exist_ok=True)
    info_path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return info_path.absolute()


def refusal(text: str | bytes) -> str:
    """What the user is told, without the path that each such message begins with."""
    info_path = write(text)
    with pytest.raises(MachineError) as caught:
        read_machine("big")
    message = str(caught.value)
    assert message.startswith(str(info_path))
    return message.removeprefix(str(info_path))


def refusal_below_jobqueue(text: str, cluster: str = "slurm") -> str:
    return refusal(f"cluster: {cluster}\njobqueue:\n  {text}").removeprefix(": jobqueue: ")


def test_a_machine_that_says_everything():
    info_path = write(DESIGN)
    machine = read_machine("big")
    assert machine == Machine(
        name="big",
        folder=info_path.parent,
        subcmd="sbatch",
        host="login.hpc.example.org",
        cluster="slurm",
        jobqueue={
            "queue": "long",
            "cores": 4,
            "processes": 4,
            "memory": "8GiB",
            "walltime": "02:00:00",
        },
        jobs=10,
    )
    assert machine.info_path == info_path
    assert machine.jobscript_path == info_path.with_name("jobscript")
    assert machine.live == "slurm"


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "subcmd:\nhost:\njobqueue:\njobs:\n"])
def test_a_machine_that_says_nothing_has_defaults(text):
    info_path = write(text)
    assert read_machine("big") == Machine("big", info_path.parent, None, "big", None, {}, 1)


def test_paths_stay_right_when_the_working_directory_changes(tmp_path, monkeypatch):
    write(DESIGN)
    machine = read_machine("big")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert machine.info_path.is_file()


def test_machines_may_be_kept_elsewhere():
    write(DESIGN, machines_dir="other place")
    assert read_machine("big", "other place").jobs == 10
    assert machine_names(Path("other place")) == ["big"]


def test_errors_are_errors_of_the_package():
    with pytest.raises(PsweepError):
        read_machine("big")


def test_a_machine_for_offline_use_says_how_to_make_it_live():
    info_path = write("subcmd: sbatch")
    with pytest.raises(MachineError, match="offline use only.*cluster: slurm.*htcondor") as caught:
        _ = read_machine("big").live
    assert str(info_path) in str(caught.value)


# --- which machine ---


def test_without_the_folder_of_machines_the_message_tells_where_it_looked(tmp_path):
    with pytest.raises(MachineError, match="no machine 'big'.*'templates/machines'") as caught:
        read_machine("big")
    assert repr(str(tmp_path)) in str(caught.value)
    assert str(tmp_path / MACHINES_DIR / "big" / "info.yaml") in str(caught.value)


def test_a_machine_that_is_not_there_is_told_with_those_that_are():
    write("", "small")
    write("", "mycluster")
    pattern = "no machine 'mycluser'.*there are mycluster, small.*did you mean 'mycluster'"
    with pytest.raises(MachineError, match=pattern):
        read_machine("mycluser")


def test_a_folder_without_machines_is_told():
    Path(MACHINES_DIR).mkdir(parents=True)
    with pytest.raises(MachineError, match="there is none at all; .*create"):
        read_machine("big")


def test_a_folder_without_info_is_told_what_to_write():
    Path(MACHINES_DIR, "big").mkdir(parents=True)
    with pytest.raises(MachineError, match="big/info.yaml is missing; .*cluster: slurm.*subcmd"):
        read_machine("big")


@pytest.mark.parametrize("name", ["", ".", "..", "../big", "/etc", "big/"])
def test_a_name_cannot_lead_out_of_the_folder(name):
    write(DESIGN)
    with pytest.raises(MachineError, match="cannot be a machine"):
        read_machine(name)


def test_names_are_of_folders_with_info():
    assert machine_names() == []
    write("", "b")
    write("not: read", "a")
    Path(MACHINES_DIR, "empty").mkdir()
    Path(MACHINES_DIR, "README").touch()
    assert machine_names() == ["a", "b"]


# --- what the file says ---


def test_what_is_not_yaml_is_told_with_its_line():
    told = refusal("subcmd: sbatch\njobs: 3\ncluster: slurm: 1\n")
    assert told == ": line 3: not YAML, mapping values are not allowed here"


@pytest.mark.parametrize("text", ["jobs: 1\njobs: 2\n", "jobqueue:\n  queue: a\n  queue: b\n"])
def test_a_key_that_is_written_twice_is_told_with_its_line(text):
    assert "is written twice" in refusal(text)


@pytest.mark.parametrize(
    "text", [b"subcmd: \xff\xfe\xfa", b"subcmd: a\x00b", b"subcmd: 2024-13-45", b"subcmd: !x y"]
)
def test_what_cannot_be_read_is_told_with_its_file(text):
    assert "not YAML" in refusal(text)


def test_an_info_that_is_a_folder_is_told():
    Path(MACHINES_DIR, "big", "info.yaml").mkdir(parents=True)
    with pytest.raises(MachineError, match="cannot read .*info.yaml: Is a directory"):
        read_machine("big")


@pytest.mark.parametrize("text", ["slurm", "- cluster: slurm", "3"])
def test_the_file_must_be_a_mapping(text):
    assert "allowed are lines such as 'cluster: slurm'" in refusal(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "clutser: slurm",
            "unknown key 'clutser'; allowed are subcmd, host, cluster, jobqueue, jobs "
            "(did you mean 'cluster'?)",
        ),
        ("Jobs: 3", "(did you mean 'jobs'?)"),
        ("walltime: 3", "(walltime belongs below jobqueue:, indented)"),
        ("true: 3", "unknown key True; allowed are "),
    ],
)
def test_an_unknown_key_is_told_with_those_that_are_allowed(text, told):
    assert told in refusal(text)


def test_no_far_fetched_advice():
    assert "did you mean" not in refusal("color: red")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("subcmd: [sbatch]", "subcmd=['sbatch']; allowed is text"),
        ("subcmd: ' '", "subcmd=' '; allowed is text"),
        ("host: false", "host=False; allowed is the name of a host"),
        ("host: -oProxyCommand=x", "host='-oProxyCommand=x'; allowed is the name of a host"),
        ("host: a b", "host='a b'; allowed is the name of a host"),
        ("cluster: SLURM", "cluster='SLURM'; allowed is one of slurm, pbs, lsf, sge, oar, "),
        ("cluster: [slurm]", "cluster=['slurm']; allowed is one of"),
        ("jobqueue: [cores]", "jobqueue=['cores']; allowed is a mapping"),
        ("jobs: 0", "jobs=0; allowed is a whole number from 1"),
        ("jobs: true", "jobs=True; allowed is a whole number from 1"),
        ("jobs: yes", "jobs='yes'; allowed is a whole number from 1"),
        ("jobs: 1.0", "jobs=1.0; allowed is a whole number from 1"),
        ("jobs: '3'", "jobs='3'; allowed is a whole number from 1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_those_that_are_allowed(text, told):
    assert refusal(text).startswith(f": {told}")


# --- what it says below jobqueue ---


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cores: 0", "cores=0; allowed is a whole number from 1"),
        ("cores: true", "cores=True; allowed is a whole number from 1"),
        ("processes: 2.5", "processes=2.5; allowed is a whole number from 1"),
        ("job_cpu: '4'", "job_cpu='4'; allowed is a whole number from 1"),
        ("memory: lots", "memory='lots'; allowed is a size with its unit"),
        ("memory: GiB", "memory='GiB'; allowed is a size with its unit"),
        ("memory: -8GiB", "memory='-8GiB'; allowed is a size with its unit"),
        ("memory: 8", "memory=8; allowed is a size with its unit, such as 8GiB"),
        ("memory: 1e999", "memory=inf; allowed is a size with its unit"),
        ("memory: true", "memory=True; allowed is a size with its unit"),
        ("queue: false", "queue=False; allowed is text (in quotes if "),
        ("account: 2024", "account=2024; allowed is text (in quotes if "),
        ("job_mem: 8000", "job_mem=8000; allowed is text (in quotes if "),
        ("queue: 2024-01-01", "queue=datetime.date(2024, 1, 1); allowed is text (in quotes"),
        ("death_timeout: 0", "death_timeout=0; allowed is a positive number of seconds"),
        ("death_timeout: .inf", "death_timeout=inf; allowed is a positive number of seconds"),
        ("death_timeout: true", "death_timeout=True; allowed is a positive number of seconds"),
        ("death_timeout: 5 min", "death_timeout='5 min'; allowed is a positive number of seconds"),
        ("death_timeout: 5 x", "death_timeout='5 x'; allowed is a positive number of seconds"),
        ("death_timeout: ''", "death_timeout=''; allowed is a positive number of seconds"),
        ("death_timeout: 5x", "death_timeout='5x'; allowed is a positive number of seconds"),
        ("job_script_prologue: module load x", "job_script_prologue='module load x'; allowed is a"),
        ("worker_extra_args: [--nthreads, 1]", "worker_extra_args=['--nthreads', 1]; allowed is a"),
        ("job_extra_directives: {a: b}", "job_extra_directives={'a': 'b'}; allowed is a list"),
        ("scheduler_options: x", "scheduler_options='x'; allowed is a mapping"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_told_with_those_that_are_allowed(text, told):
    assert refusal_below_jobqueue(text).startswith(told)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_walltime_that_is_a_whole_number_needs_quotes(cluster):
    told = refusal_below_jobqueue("walltime: 90", cluster)
    assert told.startswith("walltime=90; ")
    assert "in quotes" in told
    assert '"12:00:00"' in told


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("walltime", ["12:00:00", "2:30"])
def test_walltime_with_a_colon_needs_no_quotes(cluster, walltime):
    write(f"cluster: {cluster}\njobqueue: {{walltime: {walltime}}}")
    assert read_machine("big").jobqueue == {"walltime": walltime}


def test_a_walltime_must_be_a_time_where_we_know_the_batch_system():
    assert "walltime='2h'; allowed is a time as sbatch takes it" in refusal_below_jobqueue(
        "walltime: 2h"
    )
    write("cluster: sge\njobqueue: {walltime: 2h}")
    assert read_machine("big").jobqueue == {"walltime": "2h"}


@pytest.mark.parametrize("walltime", ["02:00:00", "'12:00:00'", "1-12", "'90'", "unlimited"])
def test_walltimes_that_sbatch_takes(walltime):
    write(f"cluster: slurm\njobqueue: {{walltime: {walltime}}}")
    assert read_machine("big").jobqueue["walltime"] == walltime.strip("'")


def test_more_processes_than_cores():
    told = refusal_below_jobqueue("cores: 4\n  processes: 8")
    assert told.startswith("processes=8 with cores=4; allowed are at most as many")
    write("jobqueue: {processes: 8}")  # dask's configuration may have the cores
    assert read_machine("big").jobqueue == {"processes": 8}


@pytest.mark.parametrize("text", ["nanny: false", "nanny: 1", "worker_extra_args: [--no-nanny]"])
def test_workers_cannot_be_without_nannies(text):
    told = refusal_below_jobqueue(text)
    assert "allowed is " in told
    assert "tell" in told
    assert "a killed pset from a lost worker" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("security: true", "security=True; we set security ourselves: "),
        ("security:", "security=None; we set security ourselves: "),
        ("protocol: tcp://", "protocol='tcp://'; we set protocol ourselves: "),
        ("n_workers: 4", "n_workers=4; we set n_workers ourselves: say how many jobs at most with"),
        ("name: x", "name='x'; we set name ourselves: "),
        ("asynchronous: true", "asynchronous=True; we set asynchronous ourselves: "),
        ("loop: 1", "loop=1; we set loop ourselves: "),
        (
            "scheduler_options: {security: }",
            "scheduler_options: security=None; we set security ourselves: ",
        ),
    ],
)
def test_arguments_that_are_ours(text, told):
    assert refusal_below_jobqueue(text).startswith(told)


@pytest.mark.parametrize("key", ["job-extra-directives", "3", "true", "[a]", ""])
def test_a_key_that_is_no_argument(key):
    told = refusal(f"jobqueue:\n  ? {key}\n  : x")
    assert "allowed are names with underscores" in told or "not YAML" in told


def test_arguments_in_all_their_kinds():
    jobqueue = {
        "cores": 8,
        "processes": 8,
        "memory": 8_000_000_000,
        "python": "srun python",
        "death_timeout": "5m",
        "worker_extra_args": ["--nthreads", "1"],
        "job_script_prologue": ["module load x", ""],
        "job_extra_directives": ["--exclusive"],
        "job_directives_skip": [],
        "scheduler_options": {"dashboard_address": ":0"},
        "nanny": True,
        "one_that_we_do_not_know": {"any": ["thing"]},
    }
    write(f"cluster: pbs\njobqueue: {jobqueue!r}".replace("True", "true"))
    assert read_machine("big").jobqueue == jobqueue


def test_directives_of_htcondor_are_a_mapping():
    write("cluster: htcondor\njobqueue: {job_extra_directives: {a: b}}")
    assert read_machine("big").jobqueue == {"job_extra_directives": {"a": "b"}}
    told = refusal_below_jobqueue("job_extra_directives: [a]", "htcondor")
    assert told.startswith("job_extra_directives=['a']; allowed is a mapping")


def test_an_argument_without_a_value_counts_as_missing():
    write("jobqueue:\n  cores:\n  processes: 4\n  nanny:\n")
    assert read_machine("big").jobqueue == {"processes": 4}


# --- what holds ---


def machine(cluster: str | None = "slurm", **jobqueue: object) -> Machine:
    return Machine("big", Path("/big"), None, "big", cluster, jobqueue)


def test_the_file_wins_over_the_configuration_of_dask():
    with dask.config.set({"jobqueue.slurm": {"cores": 2, "death-timeout": 60}}):
        assert machine(cores=4).setting("cores") == 4
        assert machine(cores=4).setting("death_timeout") == 60
        assert machine("pbs").setting("cores") is None
        assert machine(None).setting("cores") is None
        assert machine(None, cores=4).setting("cores") == 4


def test_a_section_of_the_configuration_by_its_name():
    with dask.config.set({"jobqueue.debug": {"cores": 2}, "jobqueue.slurm": {"cores": 3}}):
        assert machine(config_name="debug").setting("cores") == 2


def test_the_name_of_the_jobs_is_called_otherwise_in_the_configuration():
    with dask.config.set({"jobqueue.slurm": {"name": "dask-worker"}}):
        assert machine().setting("job_name") == "dask-worker"


def test_nothing_is_known_of_what_nobody_set():
    assert machine().setting("no_such_setting") is None


# --- times ---


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
def test_times_of_slurm(text, seconds):
    assert walltime_seconds(text) == seconds


@given(seconds=st.integers(0, 10**8))
def test_a_time_is_the_same_however_it_is_written(seconds):
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    for text in (f"{days}-{h:02}:{m:02}:{s:02}", f"{hours}:{m:02}:{s:02}", f"{minutes}:{s:02}"):
        assert walltime_seconds(text) == seconds
    assert walltime_seconds(f"{minutes}") == minutes * 60
    assert walltime_seconds(f"{days}-{h}:{m}") == minutes * 60
    assert walltime_seconds(f"{days}-{h}") == hours * 3600


@given(text=st.text())
def test_any_text_is_a_time_or_none(text):
    seconds = walltime_seconds(text)
    assert seconds is None or seconds >= 0


# --- dask-jobqueue ---


def test_neither_distributed_nor_dask_jobqueue_is_imported():
    code = (
        "import sys, psweep_dask.hpc.machine\n"
        "print(sorted({'distributed', 'dask_jobqueue'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_each_kind_of_cluster_is_a_class_of_dask_jobqueue_with_a_section_of_its_name():
    # In a process of its own, since the import takes over SIGINT.
    code = (
        "import dask_jobqueue\n"
        "from psweep_dask.hpc.machine_schema import CLUSTERS\n"
        "for name, cls in CLUSTERS.items():\n"
        "    assert getattr(dask_jobqueue, cls).job_cls.default_config_name() == name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
