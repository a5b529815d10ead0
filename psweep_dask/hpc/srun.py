"""The job step of srun in which the workers of a SLURM allocation run, one in each task."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from psweep_dask.hpc.slurm import WORKER_VARIABLE, worker_memory

_TERMINATE_TIMEOUT_SECONDS = 10.0  # srun takes 0.1 to 3 s to kill its tasks

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Say how many threads OpenMP and others use."""

SET_BY_USER = frozenset(THREAD_VARIABLES) & frozenset(os.environ)
"""Those that were set before dask, whose nannies write 1 into the environment of the driver."""

# Variables that srun would take for its own options. Seen in the lab: the CPU mask of a shell by
# `srun --exact --pty` puts all workers on the CPU of that shell, a distribution without its plane
# size puts tasks where there are no CPUs for them, and srun warns about --ntasks-per-node of the
# shell. By its manual, srun refuses two kinds of memory limits at a time.
_SRUN_OPTIONS = re.compile(
    r"SLURM_(CPU_BIND\w*|MEM_BIND\w*|MEM_PER_\w+|DISTRIBUTION|DIST_\w+|NTASKS_PER_\w+)"
)


def srun_command(
    address: str,
    nodes: int,
    workers: int,
    cpus_per_worker: int,
    memory_per_worker: int | None,
    python: str = sys.executable,
) -> list[str]:
    """Return the command that starts the workers of an allocation.

    ``--overlap`` shares the CPUs with the step in which the driver itself may run. ``--mem=0``
    gives the workers all memory of the job. ``--export=ALL`` undoes ``sbatch --export=NONE``.
    ``--immediate`` makes an error of a step that never fits, which srun would wait for without
    end. How tasks are bound to CPUs is left to the site.

    Examples
    --------
    >>> address = "tls://10.0.0.1:8786"  # of the scheduler
    >>> " ".join(srun_command(address, 2, 4, 1, memory_per_worker=None, python="python"))
    'srun --overlap --nodes=2 --ntasks=4 --cpus-per-task=1 --mem=0 --export=ALL ...
    python -m distributed.cli.dask_worker tls://10.0.0.1:8786 --nthreads 1 --nworkers 1 ...'
    """
    srun = [
        *("srun", "--overlap", f"--nodes={nodes}", f"--ntasks={workers}"),
        *(f"--cpus-per-task={cpus_per_worker}", "--mem=0", "--export=ALL"),
        *("--job-name=psweep_dask", "--kill-on-bad-exit=0", "--wait=0"),
        *("--input=none", "--mpi=none", "--immediate=600"),
    ]
    worker = [
        *(python, "-m", "distributed.cli.dask_worker", address),
        *("--nthreads", "1", "--nworkers", "1", "--nanny"),
        *("--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--death-timeout", "60"),
    ]
    if memory_per_worker is not None:
        worker += ["--memory-limit", str(worker_memory(memory_per_worker))]
    return srun + worker


def step_environment(
    cpus_per_worker: int, settings: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment variables for srun and the workers: `environ` and `settings`.

    A library such as OpenMP uses `cpus_per_worker` threads in a worker, unless the user has set
    another number.

    Examples
    --------
    >>> variables = step_environment(4, {}, {"SLURM_CPU_BIND": "0x1", "HOME": "/home/me"})
    >>> variables["HOME"], variables["OMP_NUM_THREADS"], "SLURM_CPU_BIND" in variables
    ('/home/me', '4', False)
    """
    kept = {name: value for name, value in environ.items() if not _SRUN_OPTIONS.fullmatch(name)}
    for name in THREAD_VARIABLES:
        if name not in SET_BY_USER and kept.get(name, "1") == "1":
            kept[name] = str(cpus_per_worker)
    return {**kept, WORKER_VARIABLE: "1", **settings}


class SrunStep:
    """A running srun. Its output and that of all workers is in `log_path`.

    Raises
    ------
    OSError
        If there is no srun.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log_path: Path) -> None:
        self.log_path = log_path
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                start_new_session=True,  # Ctrl-C is for the driver
            )

    def end_message(self) -> str | None:
        """Return how srun has ended, as a sentence; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        lines = self._last_lines()
        return f"srun ended with exit code {code}" + (f": {' | '.join(lines)}" if lines else "")

    def close(self, patience: float = 20.0) -> int:
        """Wait for the end of srun, or end it after `patience` seconds; return its exit code."""
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.terminate()  # then srun kills its tasks, and exits with 137
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(_TERMINATE_TIMEOUT_SECONDS)
            self._process.kill()
            return self._process.wait()
        finally:  # after a second Ctrl-C, for instance; SLURM ends a step that has lost its srun
            self._process.kill()

    def _last_lines(self) -> list[str]:
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - 4096))  # bytes
            lines = log.read().decode(errors="replace").splitlines()
        lines_of_slurm = [line for line in lines if line.startswith(("srun: ", "slurmstepd"))]
        return (lines_of_slurm or lines)[-3:]
