"""The workers that srun starts in an allocation, one for each of its tasks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from psweep_dask.hpc.allocation import Allocation, AllocationError
from psweep_dask.hpc.slurm import WORKER_MARK, worker_memory

_TERM_PATIENCE = 10.0  # seconds; srun takes 0.1 to 3 to kill its tasks
_TAIL = 4096  # bytes of the log that are read

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_THREADS_GIVEN = frozenset(_THREADS) & frozenset(os.environ)

# What srun would take over as its own options. Seen in the lab: the mask of a `srun --exact --pty`
# shell puts all workers on that shell's CPU, a distribution without its plane size puts tasks where
# there are no CPUs for them, --ntasks-per-node of the shell is warned about. By its manual, srun
# refuses two kinds of memory limits at a time.
_DISTURBING = re.compile(
    r"SLURM_(CPU_BIND\w*|MEM_BIND\w*|MEM_PER_\w+|DISTRIBUTION|DIST_\w+|NTASKS_PER_\w+)"
)


def srun_command(allocation: Allocation, address: str, python: str = sys.executable) -> list[str]:
    """Write the command that starts the workers of an allocation.

    ``--overlap`` shares the CPUs with a step in which the driver itself may sit, ``--mem=0`` gives
    the step all the memory of the job, and ``--export=ALL`` undoes ``sbatch --export=NONE``. How
    tasks are bound to CPUs is left to the site. ``--immediate`` makes an error of a step that never
    fits, for which srun would wait for ever.

    Parameters
    ----------
    allocation : Allocation
    address : str
        Of the scheduler.
    python : str
        The interpreter, the same on all nodes.

    Examples
    --------
    >>> allocation = Allocation("7", 2, 4, 1, None, True)
    >>> " ".join(srun_command(allocation, "tls://10.0.0.1:8786", "python"))
    'srun --overlap --nodes=2 --ntasks=4 --cpus-per-task=1 --mem=0 --export=ALL ...
    python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --nthreads 1 --nworkers 1 ...'
    """
    srun = [
        *("srun", "--overlap"),
        *(f"--nodes={allocation.nodes}", f"--ntasks={allocation.tasks}"),
        *(f"--cpus-per-task={allocation.cpus}", "--mem=0", "--export=ALL"),
        *("--job-name=psweep_dask", "--kill-on-bad-exit=0", "--wait=0"),
        *("--input=none", "--mpi=none", "--immediate=600"),
    ]
    worker = [
        *(python, "-m", "distributed.cli.dask_worker", address),
        *("--nthreads", "1", "--nworkers", "1", "--nanny"),
        *("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--death-timeout", "60"),
    ]
    if allocation.memory_per_task is not None:
        worker += ["--memory-limit", str(worker_memory(allocation.memory_per_task))]
    return srun + worker


def step_environment(
    allocation: Allocation, settings: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Make the environment of srun and the workers.

    Parameters
    ----------
    allocation : Allocation
    settings : mapping
        Variables for the workers; these win.
    environ : mapping
        What there is already. Variables for the number of threads are kept.

    Examples
    --------
    >>> allocation = Allocation("7", 1, 2, 4, None, True)
    >>> made = step_environment(allocation, {}, {"SLURM_CPU_BIND": "0x1", "HOME": "/home/me"})
    >>> made["HOME"], made["OMP_NUM_THREADS"], "SLURM_CPU_BIND" in made
    ('/home/me', '4', False)
    """
    kept = {name: value for name, value in environ.items() if not _DISTURBING.fullmatch(name)}
    for name in _THREADS:
        # dask's nannies leave a 1 in the driver's environment, which the user did not ask for
        if name not in _THREADS_GIVEN and kept.get(name, "1") == "1":
            kept[name] = str(allocation.cpus)
    return {**kept, WORKER_MARK: "1", **settings}


class SrunStep:
    """The job step in which the workers of an allocation run.

    Parameters
    ----------
    allocation : Allocation
    address : str
        Of the scheduler.
    log_path : Path
        Where the output of srun and of all workers goes.
    settings : mapping
        Environment variables for the workers.

    Raises
    ------
    AllocationError
        If there is no srun.
    """

    def __init__(
        self, allocation: Allocation, address: str, log_path: Path, settings: Mapping[str, str]
    ) -> None:
        self.log_path = log_path
        with log_path.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    srun_command(allocation, address),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=step_environment(allocation, settings),
                    start_new_session=True,  # Ctrl-C is for the driver
                )
            except OSError as err:
                raise AllocationError(
                    f"SLURM_JOB_ID={allocation.job_id} is set, but srun cannot be started ({err}); "
                    "put it on the PATH, or use cluster='local'"
                ) from err

    def ended(self) -> str | None:
        """Tell in a sentence how srun ended, None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        lines = self._last_lines()
        return f"srun ended with exit code {code}" + (f": {' | '.join(lines)}" if lines else "")

    def close(self, patience: float = 20.0) -> int:
        """Wait for the end of the step, or end it; returns the exit code of srun.

        Parameters
        ----------
        patience : float
            Seconds to wait for workers that the scheduler has told to end.
        """
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return self._terminate()
        finally:  # after a second Ctrl-C, say; SLURM ends a step that has lost its srun
            self._process.kill()

    def _terminate(self) -> int:
        self._process.terminate()  # srun kills the tasks then, and exits with 137
        try:
            return self._process.wait(_TERM_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _last_lines(self) -> list[str]:
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - _TAIL))
            lines = log.read().decode(errors="replace").splitlines()
        by_slurm = [line for line in lines if line.startswith(("srun: ", "slurmstepd"))]
        return (by_slurm or lines)[-3:]
