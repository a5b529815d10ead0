"""The driver itself as a batch job, and as a chain of them where one walltime is too short."""

from __future__ import annotations

import logging
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

from psweep_dask.driver.chain import GO_ON
from psweep_dask.errors import PsweepError
from psweep_dask.hpc import slurm
from psweep_dask.hpc.machine import Machine, read_machine

log = logging.getLogger("psweep_dask")

MEMORY = "2G"
"""What a driver gets: it holds the plan and the database, the psets run elsewhere."""

LEAD = 120
"""Seconds before its walltime in which a driver begins to stop: running psets may finish."""

FOLLOWERS = 20
"""So many jobs follow the first one, at most."""

FOR_ALL = ("--qos", "-q", "--constraint", "-C", "--reservation", "--clusters", "-M", "--account")
"""Directives of the workers' jobs that the driver's job has as well."""

GRACE = 15
"""Seconds that a driver needs to leave."""

EARLY = 75
"""Seconds by which SLURM may send its warning too early: it looks about once a minute."""


class DriverJobError(PsweepError):
    """A driver that cannot be submitted."""


@dataclass(frozen=True)
class DriverJob:
    """A script that runs as the driver of a study, in one batch job after the other.

    Parameters
    ----------
    machine : Machine
        Where it runs, and where its workers do.
    script : str
        Path of the script.
    arguments : sequence of str
        For the script.
    walltime : str, optional
        Of each job; by default what the machine says for its jobs.
    lead : int, optional
        Seconds before the walltime in which it begins to stop.
    followers : int, optional
        How many jobs may follow it.
    chain : str, optional
        Common to all jobs of the chain.
    """

    machine: Machine
    script: str
    arguments: Sequence[str] = ()
    walltime: str | None = None
    lead: int = LEAD
    followers: int = FOLLOWERS
    chain: str = ""

    def job_script(self) -> str:
        """Write the job script.

        Raises
        ------
        DriverJobError
            If the machine has another batch system than SLURM.
        """
        if self.machine.live != "slurm":
            raise DriverJobError(
                f"{self.machine.info_path}: cluster: {self.machine.cluster}; only on SLURM can "
                "the driver be submitted: write a job script that runs the script by hand"
            )
        setting = self.machine.setting
        given = {
            "--job-name": f"driver-{Path(self.script).stem}",
            "--partition": setting("queue"),
            "--account": setting("account"),
            "--time": self.walltime or setting("walltime"),
            "--ntasks": 1,
            "--cpus-per-task": 1,
            "--mem": MEMORY,
            "--signal": f"B:TERM@{self.lead}",
            "--output": self.log_path("%j"),
        }
        given_more = setting("job_extra_directives") or []
        lines = [f"#SBATCH {name}={_word(value)}" for name, value in given.items() if value]
        command = [sys.executable, "-m", "psweep_dask.driver.driver_job", *self._as_arguments()]
        return "\n".join(
            [
                "#!/usr/bin/env bash",
                *lines,
                *(f"#SBATCH {one}" for one in filter(_is_for_all, given_more)),
                "#SBATCH --no-requeue",
                *(setting("job_script_prologue") or []),
                f"export DASK_PSWEEP__CLUSTER={shlex.quote(self.machine.name)}",
                f"export DASK_PSWEEP__CHAIN={self.chain}",
                f"exec {shlex.join(command)}",
                "",
            ]
        )

    def log_path(self, job_id: str) -> str:
        """Tell where a job of the chain prints to."""
        return f"driver-{Path(self.script).stem}-{job_id}.log"

    def submit(self, after: str | None = None) -> str:
        """Submit it, and give the id of the job.

        Parameters
        ----------
        after : str, optional
            Id of the job that it follows, if that is ended before the script is.

        Raises
        ------
        DriverJobError
            If SLURM refuses it.
        """
        command = ["sbatch", "--parsable"]
        if after is not None:
            command += [f"--dependency=afternotok:{after}", "--kill-on-invalid-dep=yes"]
        leaking = slurm.allocation_variables(os.environ)
        environment = {name: value for name, value in os.environ.items() if name not in leaking}
        try:
            done = subprocess.run(
                command,
                input=self.job_script(),
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as err:
            raise DriverJobError(f"sbatch cannot be started here: {err}") from err
        if done.returncode:
            raise DriverJobError(f"SLURM refuses the driver: {done.stderr.strip()}")
        return done.stdout.strip().partition(";")[0]

    def _as_arguments(self) -> list[str]:
        own = [self.machine.name, self.walltime or "", self.lead, self.followers, self.chain]
        return [*map(str, own), self.script, *self.arguments]


def driver_job(
    cluster: str,
    script: str,
    arguments: Sequence[str] = (),
    *,
    walltime: str | None = None,
    lead: int = LEAD,
    followers: int = FOLLOWERS,
) -> DriverJob:
    """Describe a driver that is to be submitted.

    Raises
    ------
    PsweepError
        If the machine or the script is not there.
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


class _Watch:
    """Runs the script, and passes on that the walltime is near."""

    def __init__(self, job: DriverJob, job_id: str) -> None:
        self._job = job
        self._job_id = job_id
        self._follower: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._given_up = False

    def run(self) -> int:
        """Run the script to its end, and tell its exit code."""
        signal.signal(signal.SIGTERM, self._on_term)
        if self._job.followers:
            follower = replace(self._job, followers=self._job.followers - 1)
            self._follower = follower.submit(after=self._job_id)
        self._process = subprocess.Popen([sys.executable, self._job.script, *self._job.arguments])
        code = self._process.wait()
        if self._given_up or (code != GO_ON and code >= 0):
            self._dismiss_follower()
        if code == GO_ON and self._follower is not None:
            print(f"the script goes on in job {self._follower}", flush=True)  # noqa: T201  (a log)
        return code if code >= 0 else 128 - code

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        """Tell the script to stop; a job that is cancelled long before its end has no follower."""
        state = slurm.job_state(self._job_id)
        if state is None or state.left is None or state.left > self._job.lead + EARLY:
            self._given_up = True
            self._dismiss_follower()
        if self._process is not None:
            if not self._given_up:  # SLURM tells all processes of a job that is cancelled
                self._process.send_signal(signal.SIGTERM)
            signal.signal(signal.SIGALRM, lambda *_: self._drop())
            signal.alarm(max(1, self._job.lead - 2 * GRACE))

    def _drop(self) -> None:
        """Have the script drop what still runs: it must merge what it has before the end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def _dismiss_follower(self) -> None:
        if self._follower is not None:
            slurm.cancel([self._follower])
            self._follower = None


def _is_for_all(directive: str) -> bool:
    """Tell what a site may ask of every job from what is for workers, such as GPUs."""
    return directive.lstrip().startswith(FOR_ALL)


def _word(value: object) -> str:
    text = str(value)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return text if text == quoted and " " not in text else f'"{quoted}"'


def main(arguments: Sequence[str]) -> int:
    """Run in the job what `DriverJob.job_script` says."""
    name, walltime, lead, followers, chain, script, *rest = arguments
    machine = read_machine(name)
    job = DriverJob(machine, script, rest, walltime or None, int(lead), int(followers), chain)
    return _Watch(job, os.environ["SLURM_JOB_ID"]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
