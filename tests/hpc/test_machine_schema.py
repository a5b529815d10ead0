"""The keys of info.yaml and their values: what is allowed, and what the messages say."""

from __future__ import annotations

import subprocess
import sys

import pytest
from helpers.machine_files import error_below_jobqueue, error_of, write_info

from psweep_dask.hpc.machine import read_machine
from psweep_dask.hpc.machine_schema import CLUSTERS


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_info_key_that_is_unknown_is_an_error_with_the_allowed_keys(text, message):
    assert message in error_of(text)


def test_info_key_that_is_unknown_is_a_warning_where_a_machine_is_for_offline_use(caplog):
    info_path = write_info("subcmd: sbatch\nqueue: long\nhots: x\n")
    assert read_machine("big").subcmd == "sbatch"
    assert f"{info_path}: unknown key 'queue'; allowed are subcmd, host" in caplog.text
    assert "(did you mean 'host'?); it has no effect" in caplog.text
    assert "unknown key 'queue'" in error_of("subcmd: sbatch\ncluster: slurm\nqueue: long\n")


def test_info_key_without_a_similar_one_gets_no_proposal():
    assert "did you mean" not in error_of("color: red")


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_info_value_of_the_wrong_kind_is_an_error_with_the_allowed_ones(text, message):
    assert error_of(text).startswith(f": {message}")


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_jobqueue_value_of_the_wrong_kind_is_an_error_with_the_allowed_ones(text, message):
    assert error_below_jobqueue(text).startswith(message)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_walltime_that_is_a_whole_number_needs_quotes(cluster):
    message = error_below_jobqueue("walltime: 90", cluster)
    assert message.startswith("walltime=90; ")
    assert "in quotes" in message
    assert '"12:00:00"' in message


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("walltime", ["12:00:00", "2:30"])
def test_walltime_with_a_colon_needs_no_quotes(cluster, walltime):
    write_info(f"cluster: {cluster}\njobqueue: {{walltime: {walltime}}}")
    assert read_machine("big").jobqueue == {"walltime": walltime}


def test_walltime_must_be_a_time_where_we_know_the_batch_system():
    assert "walltime='2h'; allowed is a time as sbatch takes it" in error_below_jobqueue(
        "walltime: 2h"
    )
    write_info("cluster: sge\njobqueue: {walltime: 2h}")
    assert read_machine("big").jobqueue == {"walltime": "2h"}


@pytest.mark.parametrize("walltime", ["02:00:00", "'12:00:00'", "1-12", "'90'", "unlimited"])
def test_walltime_may_be_all_that_sbatch_takes(walltime):
    write_info(f"cluster: slurm\njobqueue: {{walltime: {walltime}}}")
    assert read_machine("big").jobqueue["walltime"] == walltime.strip("'")


def test_jobqueue_processes_are_at_most_the_cores():
    message = error_below_jobqueue("cores: 4\n  processes: 8")
    assert message.startswith("processes=8 with cores=4; allowed are at most as many")
    write_info("jobqueue: {processes: 8}")  # dask's configuration may have the cores
    assert read_machine("big").jobqueue == {"processes": 8}


@pytest.mark.parametrize("text", ["nanny: false", "nanny: 1", "worker_extra_args: [--no-nanny]"])
def test_jobqueue_workers_cannot_be_without_nannies(text):
    message = error_below_jobqueue(text)
    assert "allowed is " in message
    assert "tell" in message
    assert "a killed pset from a lost worker" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("security: true", "security=True; we set security ourselves: "),
        ("security:", "security=None; we set security ourselves: "),
        ("protocol: tcp://", "protocol='tcp://'; we set protocol ourselves: "),
        (
            "n_workers: 4",
            "n_workers=4; we set n_workers ourselves: set the largest number of jobs with",
        ),
        ("name: x", "name='x'; we set name ourselves: "),
        ("asynchronous: true", "asynchronous=True; we set asynchronous ourselves: "),
        ("loop: 1", "loop=1; we set loop ourselves: "),
        (
            "scheduler_options: {security: }",
            "scheduler_options: security=None; we set security ourselves: ",
        ),
    ],
)
def test_jobqueue_keys_that_we_set_ourselves_are_an_error(text, message):
    assert error_below_jobqueue(text).startswith(message)


@pytest.mark.parametrize("key", ["job-extra-directives", "3", "true", "[a]", ""])
def test_jobqueue_key_that_is_no_argument_is_an_error(key):
    message = error_of(f"jobqueue:\n  ? {key}\n  : x")
    assert "allowed are names with underscores" in message or "not YAML" in message


def test_jobqueue_values_of_all_kinds():
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
        "key_that_we_do_not_know": {"any": ["thing"]},
    }
    write_info(f"cluster: pbs\njobqueue: {jobqueue!r}".replace("True", "true"))
    assert read_machine("big").jobqueue == jobqueue


def test_jobqueue_directives_of_htcondor_are_a_mapping():
    write_info("cluster: htcondor\njobqueue: {job_extra_directives: {a: b}}")
    assert read_machine("big").jobqueue == {"job_extra_directives": {"a": "b"}}
    message = error_below_jobqueue("job_extra_directives: [a]", "htcondor")
    assert message.startswith("job_extra_directives=['a']; allowed is a mapping")


def test_jobqueue_key_without_a_value_counts_as_missing():
    write_info("jobqueue:\n  cores:\n  processes: 4\n  nanny:\n")
    assert read_machine("big").jobqueue == {"processes": 4}


def test_clusters_are_classes_of_dask_jobqueue_with_a_section_of_their_name():
    # In a process of its own, since the import takes over SIGINT.
    code = (
        "import dask_jobqueue\n"
        "from psweep_dask.hpc.machine_schema import CLUSTERS\n"
        "for name, cls in CLUSTERS.items():\n"
        "    assert getattr(dask_jobqueue, cls).job_cls.default_config_name() == name"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
