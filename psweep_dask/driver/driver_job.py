"""The driver as a batch job, or as a chain of jobs where one walltime is too short."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType

from psweep_dask.driver import CHAIN_VARIABLE
from psweep_dask.errors import PsweepError
from psweep_dask.hpc import slurm
from psweep_dask.hpc.jobscript import sbatch_quote
from psweep_dask.hpc.machine import Machine, read_machine

LEAD = 120  # seconds before the walltime at which a driver begins to stop
FOLLOWERS = 20  # largest number of jobs that follow the first one
MERGE_SECONDS = 15  # that a driver needs to merge its rows and to end
EARLY_WARNING_SECONDS = 75  # how much too early SLURM may signal: it looks about once a minute

SHARED_DIRECTIVES = (
    "--qos", "-q", "--constraint", "-C", "--reservation", "--clusters", "-M", "--account",
)  # fmt: skip
"""Directives that a site may want in every job. All others, such as GPUs, are for workers."""


class DriverJobError(PsweepError):
    """The driver cannot be submitted."""


@dataclass(frozen=True)
class DriverJob:
    """A batch job that runs a script as the driver of a study, and that others like it follow."""

    machine: Machine  # where the driver and its workers run
    script: str
    arguments: Sequence[str]
    walltime: str | None  # None: that of the jobs of the machine
    lead: int  # seconds before the walltime at which the driver begins to stop
    followers: int  # number of jobs that may follow this one
    chain: str  # id that all jobs of the chain share

    def job_script(self) -> str:
        """Return the job script; a `DriverJobError` says that the batch system is not SLURM."""
        if self.machine.batch_system != "slurm":
            raise DriverJobError(
                f"{self.machine.info_path}: cluster: {self.machine.cluster}; only on SLURM can "
                "the driver be submitted: write a job script that runs the script by hand"
            )
        setting = self.machine.setting
        directives = {
            "--job-name": f"driver-{Path(self.script).stem}",
            "--partition": setting("queue"),
            "--account": setting("account"),
            "--time": self.walltime or setting("walltime"),
            "--ntasks": 1,
            "--cpus-per-task": 1,
            "--mem": "2G",  # for the plan and the database; the psets run elsewhere
            "--signal": f"B:TERM@{self.lead}",
            "--output": self.log_path("%j"),
        }
        extra = [str(line).lstrip() for line in setting("job_extra_directives") or []]
        lines = [sbatch_quote(f"{name}={value}") for name, value in directives.items() if value]
        lines += [line for line in extra if line.startswith(SHARED_DIRECTIVES)]
        own = [self.machine.name, self.walltime or "", self.lead, self.followers, self.chain]
        command = [sys.executable, "-m", "psweep_dask.driver.driver_job", *map(str, own)]
        command += [self.script, *self.arguments]
        return "\n".join(
            [
                "#!/usr/bin/env bash",
                *(f"#SBATCH {line}" for line in [*lines, "--no-requeue"]),
                *(setting("job_script_prologue") or []),
                f"export DASK_PSWEEP__CLUSTER={shlex.quote(self.machine.name)}",
                f"exec {shlex.join(command)}",
                "",
            ]
        )

    def log_path(self, job_id: str) -> str:
        """Return the path of the file to which the job with this id prints."""
        return f"driver-{Path(self.script).stem}-{job_id}.log"

    def submit(self, after: str | None = None) -> str:
        """Submit the job and return its id; a `DriverJobError` says that SLURM refuses it.

        `after` is the id of a job: this one starts if that job ends before the script does.
        """
        command = ["sbatch", "--parsable"]
        if after is not None:
            command += [f"--dependency=afternotok:{after}", "--kill-on-invalid-dep=yes"]
        inherited = os.environ.keys() - slurm.allocation_variables(os.environ)
        environ = {name: os.environ[name] for name in inherited}
        script = self.job_script()
        try:
            done = subprocess.run(
                command, input=script, env=environ, capture_output=True, text=True, check=False
            )
        except OSError as err:
            raise DriverJobError(f"sbatch cannot be started here: {err}") from err
        if done.returncode:
            raise DriverJobError(f"SLURM refuses the driver: {done.stderr.strip()}")
        return done.stdout.strip().partition(";")[0]


def driver_job(
    cluster: str,
    script: str,
    arguments: Sequence[str] = (),
    *,
    walltime: str | None = None,
    lead: int = LEAD,
    followers: int = FOLLOWERS,
) -> DriverJob:
    """Return the first job of a chain, to be submitted; `cluster` is the name of a machine.

    A `DriverJobError` says that there is no such script, or that `lead` is too long.
    """
    if not Path(script).is_file():
        raise DriverJobError(f"there is no script {script!r}, seen from {str(Path.cwd())!r}")
    machine = read_machine(cluster)
    limit = slurm.walltime_seconds(walltime or str(machine.setting("walltime") or ""))
    if limit and lead >= limit:
        raise DriverJobError(
            f"lead={lead} seconds with a walltime of {limit:.0f}: the driver would stop at once; "
            "choose a longer walltime or a shorter lead"
        )
    chain = f"chain-{uuid.uuid4().hex}"
    return DriverJob(machine, script, tuple(arguments), walltime, lead, followers, chain)


class _ScriptRun:
    """Runs the script in a driver job, and has it stopped when the walltime is near.

    With lead=120 and a pset that takes longer than that:

    ===============  ===========================================================================
    seconds to end   what happens
    ===============  ===========================================================================
    at the start     the follower is submitted; it starts if this job fails
    120              SLURM sends SIGTERM, the script gets it: nothing new starts, psets may finish
    30               the script gets a second SIGTERM: it drops what runs, and merges its rows
    about 15         the script exits with `os.EX_TEMPFAIL`, so does this job: the follower starts
    ===============  ===========================================================================

    A script that ends by itself has no follower; nor has a job that is cancelled, which shows by
    a SIGTERM long before the walltime.
    """

    def __init__(self, job: DriverJob, job_id: str) -> None:
        self._job = job
        self._job_id = job_id
        self._follower: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False

    def run(self) -> int:
        """Run the script to its end and return its exit code."""
        signal.signal(signal.SIGTERM, self._on_term)
        if self._job.followers:
            follower = replace(self._job, followers=self._job.followers - 1)
            self._follower = follower.submit(after=self._job_id)
        self._process = subprocess.Popen(
            [sys.executable, self._job.script, *self._job.arguments],
            env={**os.environ, CHAIN_VARIABLE: self._job.chain},
        )
        code = self._process.wait()
        if self._cancelled or (code != os.EX_TEMPFAIL and code >= 0):
            self._cancel_follower()
        if code == os.EX_TEMPFAIL and self._follower is not None:
            print(f"the script goes on in job {self._follower}", flush=True)  # noqa: T201  (a log)
        return code if code >= 0 else 128 - code

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        state = slurm.job_state(self._job_id)
        latest = self._job.lead + EARLY_WARNING_SECONDS
        if state is None or state.left is None or state.left > latest:
            self._cancelled = True
            self._cancel_follower()
        if not self._cancelled:  # SLURM itself signals all processes of a job that is cancelled
            self._terminate_script()
        signal.signal(signal.SIGALRM, lambda *_: self._terminate_script())
        signal.alarm(max(1, self._job.lead - 2 * MERGE_SECONDS))

    def _terminate_script(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def _cancel_follower(self) -> None:
        if self._follower is not None:
            slurm.cancel([self._follower])
            self._follower = None


def main(arguments: Sequence[str]) -> int:
    """Run the script in the job; `DriverJob.job_script` has the command."""
    name, walltime, lead, followers, chain, script, *rest = arguments
    machine = read_machine(name)
    job = DriverJob(machine, script, rest, walltime or None, int(lead), int(followers), chain)
    return _ScriptRun(job, os.environ["SLURM_JOB_ID"]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
