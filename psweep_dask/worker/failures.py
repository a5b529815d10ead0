"""What a lost worker means for the psets of its slice: a pure policy, without clock or network.

A pset is the cause only if its worker process has ended while the nanny of the process lives on. A
worker that is gone together with its nanny, job or node uses up no attempt of any pset. The policy
gets what the nanny reports (`WorkerExit`), and how long a walltime was (`WalltimeLoss`).

A slice of psets 4, 5 and 6, and a segmentation fault in pset 5:

- 0.0 s: pset 4 begins; the worker notes it in its activity file, as it does for each pset.
- 0.2 s: pset 4 is done, pset 5 begins.
- 0.3 s: the process is killed by signal 11. Its nanny reads the activity file: pset 5 was running.
- 0.3 s: the driver learns that the slice is lost, and calls `FailurePolicy.decide`: pset 5 has
  failed, psets 4 and 6 are handed out again (but 4 is done if the worker has written its row to a
  file: see `psweep_dask.worker.early_rows`).
- If pset 5 has further attempts, it is run again; else it becomes a row with ``_status`` "killed".

| what the driver learns of the lost worker | decision |
| --- | --- |
| the walltime of its job ended it | all run again, alone; a pset that filled the walltime fails |
| nothing: the nanny is gone, too | all run again; after 3 times alone; after 10 times it fails |
| it ended because it was told to | the same |
| a pset was over its timeout | that pset fails |
| one pset was running | that pset fails |
| no pset was running, it ended by itself | all run again, alone; after 3 more times it fails |
| psets of several threads were running | the pset fails when this has happened 3 times |
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from psweep_dask._format import short_repr
from psweep_dask.params.pset import Pset
from psweep_dask.worker.work import Failure, SliceResult, Work, WorkerProcess, fields_at_end

MAX_SHARED_EXITS = 3
"""A pset fails when so many processes have ended in which it ran together with other psets."""

MAX_IDLE_EXITS = 3
"""A pset fails when so many processes have ended between psets with it as the only one of a slice;
from the first of these on, each pset of the slice gets one of its own."""

MAX_LOST_WORKERS = 10
"""A pset fails when it has lost so many workers together with their nannies, jobs or nodes."""

ALONE_AFTER_LOST_WORKERS = 3
"""A pset that has lost so many workers gets a slice of its own: another pset may be the cause."""

WHOLE_LIFETIME_SHARE = 0.8
"""A pset is too long for the walltime if it ran for this share of the lifetime of its worker."""

LIFETIME_FACTOR = 1.5
"""A pset that the walltime has ended after t seconds needs a worker with so many times t left."""


@dataclass(frozen=True)
class RunningPset:
    """A pset that was running when its worker process ended."""

    run_id: str
    pset_seq: int
    seconds: float  # how long it had been running


@dataclass(frozen=True)
class WorkerExit:
    """What a nanny reports of a worker process that has ended."""

    worker: str  # its address
    host: str
    exitcode: int  # negative: the signal that has killed it
    closing: bool = False  # whether it was told to end
    running: tuple[RunningPset, ...] = ()
    over_timeout: RunningPset | None = None  # why the nanny has killed the process
    reason: str = ""  # why it was ended, or has ended itself, if that is known
    stack: str = ""  # which line of func was running, as in a traceback, if that is known
    memory: tuple[int, int] | None = None  # bytes held and their limit, if it was ended for that
    pid: int | None = None

    @property
    def process(self) -> WorkerProcess:
        """The process, for the row of a pset."""
        return WorkerProcess(self.host, self.pid)


@dataclass(frozen=True)
class WalltimeLoss:
    """The loss of a slice because the walltime of the worker's job was over. All in seconds."""

    ran: float  # how long the worker had worked on the slice
    life: float  # from the start of the worker to its end
    walltime: float  # of the job


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt at a pset that ended with its worker process."""

    pset_seq: int
    status: str  # "killed" or "timeout"
    text: str  # for ``_exc_txt``
    process: WorkerProcess = field(default_factory=lambda: WorkerProcess(""))
    seconds: float = 0.0  # how long the pset ran
    final: bool = False  # whether further attempts would be in vain

    def result(self, work: Work, pset: Pset, sha1: str, attempt: int) -> SliceResult:
        """Return the result of the pset, which its worker process could not make."""
        fields = work.fields_at_start(self.pset_seq, sha1)
        fields["_time_utc"] -= int(self.seconds * 1e9)
        ending = fields_at_end(self.status, self.text, self.process, self.seconds, attempt)
        headline = self.text.strip().splitlines()[0]
        failure = Failure(self.status, self.pset_seq, short_repr(pset), self.text, headline)
        return SliceResult.of_failure({**pset, **fields, **ending}, failure)


@dataclass(frozen=True)
class Decision:
    """What happens to the psets of a lost slice: at most one has failed, the others run again."""

    failed: FailedAttempt | None = None
    alone: frozenset[int] = frozenset()  # _pset_seq of those with slices of their own from now on
    life: float = 0.0  # seconds before its walltime that a worker for these must have left


class FailurePolicy:
    """Decides what the loss of a slice means, and remembers the earlier losses of its run.

    Examples
    --------
    >>> policy = FailurePolicy("r")
    >>> running = (RunningPset("r", 5, 0.1),)
    >>> worker_exit = WorkerExit("tcp://w", "node1", exitcode=-11, running=running)
    >>> decision = policy.decide([4, 5, 6], worker_exit)
    >>> decision.failed.pset_seq, decision.failed.text
    (5, 'the worker process was killed by signal 11 (SIGSEGV) on node1 while it ran this pset')
    >>> policy.decide([4, 5, 6], None)
    Decision(failed=None, alone=frozenset(), life=0.0)
    """

    def __init__(self, run_id: str, timeout: float | None = None) -> None:
        self._run_id = run_id
        self._timeout = timeout
        self._shared_exits: Counter[int] = Counter()
        self._lost_workers: Counter[int] = Counter()
        self._idle_exits: Counter[int] = Counter()

    def decide(
        self,
        seqs: Sequence[int],
        worker_exit: WorkerExit | None,
        walltime_loss: WalltimeLoss | None = None,
    ) -> Decision:
        """Decide what the loss of a slice means for its psets, given by their ``_pset_seq``.

        If no nanny has reported the exit of the worker, it is None: the nanny is gone, too.
        """
        if walltime_loss is not None:
            return self._ended_by_walltime(seqs, walltime_loss)
        if worker_exit is None or worker_exit.closing or _was_asked_to_leave(worker_exit):
            return self._lost(seqs)
        if worker_exit.over_timeout is not None:
            return self._timed_out(seqs, worker_exit, worker_exit.over_timeout)
        running = [pset for pset in worker_exit.running if pset.run_id == self._run_id]
        running_pset = next((pset for pset in running if pset.pset_seq in seqs), None)
        if running_pset is None:
            return self._ended_between_psets(seqs, worker_exit)
        if len(worker_exit.running) > 1:
            self._shared_exits[running_pset.pset_seq] += 1
            if self._shared_exits[running_pset.pset_seq] < MAX_SHARED_EXITS:
                return Decision()
        return _failed(running_pset, "killed", _why_killed(worker_exit), worker_exit)

    def _timed_out(
        self, seqs: Sequence[int], worker_exit: WorkerExit, over_timeout: RunningPset
    ) -> Decision:
        if over_timeout.run_id != self._run_id or over_timeout.pset_seq not in seqs:
            return Decision()  # a pset of another slice in the same process was over its time
        text = (
            f"the pset was ended after {over_timeout.seconds:.1f} s on {worker_exit.host}: "
            f"it ran longer than timeout={self._timeout} allows"
        )
        return _failed(over_timeout, "timeout", text, worker_exit)

    def _ended_by_walltime(self, seqs: Sequence[int], loss: WalltimeLoss) -> Decision:
        if len(seqs) > 1 or loss.ran < WHOLE_LIFETIME_SHARE * loss.life:
            life = LIFETIME_FACTOR * loss.ran if len(seqs) == 1 else 0.0
            return Decision(alone=frozenset(seqs), life=life)
        text = (
            f"the walltime of its job, {loss.walltime:.0f} s, ended the pset after {loss.ran:.0f} "
            "s, though its worker ran hardly anything else: the pset takes longer than the "
            "walltime; ask for a longer walltime (in info.yaml), then "
            "ps.retry(..., kind='killed', cluster=...) runs it again"
        )
        return Decision(FailedAttempt(seqs[0], "killed", text, seconds=loss.ran, final=True))

    def _ended_between_psets(self, seqs: Sequence[int], worker_exit: WorkerExit) -> Decision:
        self._idle_exits.update(seqs)
        if len(seqs) == 1 and self._idle_exits[seqs[0]] > MAX_IDLE_EXITS:
            code, host = worker_exit.exitcode, worker_exit.host
            text = (
                f"the worker process ended (exit status {code}, on {host}) just after it had run "
                f"this pset, {MAX_IDLE_EXITS} times: func, or something that it has started, has "
                "ended it"
            )
            return Decision(FailedAttempt(seqs[0], "killed", text, worker_exit.process, final=True))
        return Decision(alone=frozenset(seqs))

    def _lost(self, seqs: Sequence[int]) -> Decision:
        self._lost_workers.update(seqs)
        if len(seqs) == 1 and self._lost_workers[seqs[0]] >= MAX_LOST_WORKERS:
            text = (
                f"the worker of this pset was lost {MAX_LOST_WORKERS} times while it ran, each "
                "time together with its nanny, job or node: this pset may take longer than the "
                "walltime of the jobs, or more memory than a job may use"
            )
            return Decision(FailedAttempt(seqs[0], "killed", text, final=True))
        lost = self._lost_workers
        alone = frozenset(seq for seq in seqs if lost[seq] >= ALONE_AFTER_LOST_WORKERS)
        return Decision(alone=alone)


def _failed(pset: RunningPset, status: str, text: str, worker_exit: WorkerExit) -> Decision:
    if worker_exit.stack:
        text += f"\nIt was here (most recent call last):\n{worker_exit.stack.rstrip()}"
    return Decision(FailedAttempt(pset.pset_seq, status, text, worker_exit.process, pset.seconds))


def _was_asked_to_leave(worker_exit: WorkerExit) -> bool:
    """Return whether a batch system has ended the process, and not its nanny for its memory."""
    return worker_exit.exitcode == -signal.SIGTERM and worker_exit.memory is None


def _why_killed(worker_exit: WorkerExit) -> str:
    host, exitcode = worker_exit.host, worker_exit.exitcode
    if worker_exit.reason:
        return f"the worker process has ended on {host} at this pset: {worker_exit.reason}"
    if worker_exit.memory is not None:
        held, limit = (f"{size / 2**30:.2f} GiB" for size in worker_exit.memory)
        return (
            f"the worker process was ended on {host} while it ran this pset: it held {held} "
            f"of memory and its limit is {limit}; give workers more, or have func hold less"
        )
    if exitcode >= 0:
        return (
            f"the worker process ended with exit status {exitcode} on {host} while it ran this "
            "pset: func, or a library that it calls, has ended the process"
        )
    why = "; the kernel does that when memory runs out" if exitcode == -signal.SIGKILL else ""
    return (
        f"the worker process was killed by signal {-exitcode} ({_signal_name(-exitcode)}) "
        f"on {host} while it ran this pset{why}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return "no name"
