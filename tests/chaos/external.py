"""A cluster that outlives drivers: a scheduler, and nannies with a worker each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from chaos.processes import await_end_of, marked
from chaos.violation import MAX_WAIT_SECONDS


class External:
    """A cluster that starts when its address is needed for the first time."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"{folder} cluster"
        self.file = folder / "scheduler.json"
        self._log = (folder / "cluster.log").open("ab")
        self._scheduler: subprocess.Popen | None = None
        self.nannies: list[subprocess.Popen] = []

    def address(self) -> str:
        if self._scheduler is None:
            self._scheduler = self._start("dask_scheduler", "--port", "0")
            self.add_worker()
            self.add_worker()
        return str(self.file)

    def add_worker(self) -> None:
        self.nannies.append(self._start("dask_worker", "--nthreads", "1", "--nworkers", "1"))

    def close(self) -> None:
        for process in [*self.nannies, self._scheduler]:
            if process is not None:
                process.terminate()
                process.wait(MAX_WAIT_SECONDS)
        self._log.close()
        await_end_of(self.mark)

    def _start(self, name: str, *options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{name}", *options]
        command += ["--scheduler-file", str(self.file), "--host", "127.0.0.1", "--no-dashboard"]
        folder = self.file.parent
        return subprocess.Popen(
            command, cwd=folder, stdout=self._log, stderr=self._log, env=marked(self.mark)
        )
