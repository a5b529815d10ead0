"""Who is to blame when a worker is lost: a pure policy, fed with what its nanny has seen.

A pset is guilty only of the death of a process whose nanny lived on. A worker that is gone with
its nanny, job or node costs no pset an attempt.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from psweep_dask._format import short
from psweep_dask.params.pset import Pset
from psweep_dask.worker.work import Failure, SliceResult, Work, our_fields, result_of

SUSPICIONS = 3
"""So many deaths are one too many for a pset that each time was one of several suspects."""

LOSSES = 10
"""So often a pset may lose its worker to the infrastructure before that becomes its result."""

ALONE_AFTER = 3
"""After so many losses a pset travels alone, so that it can be told from its neighbours."""

WHOLE_LIFE = 0.8
"""A pset that ran for this part of its worker's life until the walltime does not fit into it."""

PATIENCE_GROWS = 1.5
"""A pset that was cut off goes to a worker that has so many times longer to live than it ran."""


@dataclass(frozen=True)
class Running:
    """A pset that a worker was running when it died.

    Parameters
    ----------
    run_id : str
    pset_seq : int
    seconds : float
        For how long.
    """

    run_id: str
    pset_seq: int
    seconds: float


@dataclass(frozen=True)
class WorkerExit:
    """What a nanny reports of a worker process that has ended.

    Parameters
    ----------
    worker : str
        Its address.
    host : str
    exitcode : int
        Negative: the signal that killed it.
    closing : bool
        It was told to end.
    running : tuple of Running
    condemned : Running or None
        The pset that was over its timeout, for which the nanny ended the process.
    stack : str
        Where func was, as lines of a traceback; empty if unknown.
    memory : tuple of (int, int) or None
        Bytes that the process held and its limit, if it was ended for that.
    """

    worker: str
    host: str
    exitcode: int
    closing: bool = False
    running: tuple[Running, ...] = ()
    condemned: Running | None = None
    stack: str = ""
    memory: tuple[int, int] | None = None


@dataclass(frozen=True)
class WalltimeLoss:
    """The end of a worker by the walltime of its job.

    Parameters
    ----------
    ran : float
        Seconds that it had worked on its slice.
    life : float
        Seconds that it was there at all.
    walltime : float
        Of the job, in seconds.
    """

    ran: float
    life: float
    walltime: float


@dataclass(frozen=True)
class FailedAttempt:
    """What a pset is found guilty of.

    Parameters
    ----------
    pset_seq : int
    status : {'killed', 'timeout'}
    text : str
        For ``_exc_txt``.
    host : str
    seconds : float
        How long it ran.
    final : bool
        Further attempts are pointless.
    """

    pset_seq: int
    status: str
    text: str
    host: str = ""
    seconds: float = 0.0
    final: bool = False

    def result(self, work: Work, pset: Pset, sha1: str, attempt: int) -> SliceResult:
        """Make the record of the pset, which has ended its process and so could make none.

        Parameters
        ----------
        work : Work
            Of its run.
        pset : dict
        sha1 : str
            Its hash.
        attempt : int
            Which attempt this was.
        """
        fields = work.seed_fields(self.pset_seq, sha1)
        fields["_time_utc"] -= int(self.seconds * 1e9)
        ours = our_fields(self.status, self.text, self.host, self.seconds, attempt)
        headline = self.text.strip().splitlines()[0]
        failure = Failure(self.status, self.pset_seq, short(pset), self.text, headline)
        return result_of({**pset, **fields, **ours}, failure)


@dataclass(frozen=True)
class Decision:
    """What a lost slice means: at most one charge, and which psets must travel alone from now on.

    All psets of the slice that are not charged are handed out again; those alone to a worker that
    has at least so many seconds to live.
    """

    charge: FailedAttempt | None = None
    alone: frozenset[int] = frozenset()
    life: float = 0.0


class FailurePolicy:
    """Remembers what each pset was involved in during one run.

    Parameters
    ----------
    run_id : str
    timeout : float, optional
        Seconds that a pset may take.

    Examples
    --------
    >>> judge = FailurePolicy("r")
    >>> death = WorkerExit("tcp://w", "node1", exitcode=-11, running=(Running("r", 5, 0.1),))
    >>> verdict = judge.verdict([4, 5, 6], death)
    >>> verdict.charge.pset_seq, verdict.charge.text
    (5, 'the worker process was killed by signal 11 (SIGSEGV) on node1 while it ran this pset')
    >>> judge.verdict([4, 5, 6], None)
    Verdict(charge=None, alone=frozenset(), life=0.0)
    """

    def __init__(self, run_id: str, timeout: float | None = None) -> None:
        self._run_id = run_id
        self._timeout = timeout
        self._suspicions: Counter[int] = Counter()
        self._losses: Counter[int] = Counter()

    def verdict(
        self, seqs: Sequence[int], death: WorkerExit | None, cut: WalltimeLoss | None = None
    ) -> Decision:
        """Judge the loss of a slice.

        Parameters
        ----------
        seqs : sequence of int
            The psets of the slice.
        death : Death or None
            None if no nanny has told: the worker vanished with it.
        cut : Cut or None
            The walltime that ended the worker, if it was that.
        """
        if cut is not None:
            return self._cut_off(seqs, cut)
        if death is None or death.closing or _was_asked_to_leave(death):
            return self._lost(seqs)
        if death.condemned is not None:
            return self._timed_out(seqs, death, death.condemned)
        running = [one for one in death.running if one.run_id == self._run_id]
        suspect = next((one for one in running if one.pset_seq in seqs), None)
        if suspect is None:
            return self._lost(seqs)
        if len(death.running) > 1:
            self._suspicions[suspect.pset_seq] += 1
            if self._suspicions[suspect.pset_seq] < SUSPICIONS:
                return Decision()
        return Decision(
            FailedAttempt(
                suspect.pset_seq, "killed", _why_killed(death), death.host, suspect.seconds
            )
        )

    def _timed_out(self, seqs: Sequence[int], death: WorkerExit, condemned: Running) -> Decision:
        if condemned.run_id != self._run_id or condemned.pset_seq not in seqs:
            return Decision()  # its neighbour in the process was over its time, not this one
        text = (
            f"the pset was ended after {condemned.seconds:.1f} s on {death.host}: "
            f"it ran longer than timeout={self._timeout} allows"
        )
        charge = FailedAttempt(
            condemned.pset_seq, "timeout", _with_stack(text, death), death.host, condemned.seconds
        )
        return Decision(charge)

    def _cut_off(self, seqs: Sequence[int], cut: WalltimeLoss) -> Decision:
        if len(seqs) > 1 or cut.ran < WHOLE_LIFE * cut.life:
            life = PATIENCE_GROWS * cut.ran if len(seqs) == 1 else 0.0
            return Decision(alone=frozenset(seqs), life=life)
        text = (
            f"the walltime of its job, {cut.walltime:.0f} s, ended the pset after {cut.ran:.0f} s, "
            "though its worker ran little else: it does not fit; ask for a longer walltime (in "
            "info.yaml), then ps.retry(..., kind='killed', cluster=...) runs it again"
        )
        return Decision(FailedAttempt(seqs[0], "killed", text, seconds=cut.ran, final=True))

    def _lost(self, seqs: Sequence[int]) -> Decision:
        self._losses.update(seqs)
        if len(seqs) == 1 and self._losses[seqs[0]] >= LOSSES:
            text = (
                f"the worker of this pset vanished {LOSSES} times in the middle of it, each time "
                "with its nanny, job or node: the walltime of the jobs may be shorter than this "
                "pset takes, or its memory more than a job is allowed"
            )
            return Decision(FailedAttempt(seqs[0], "killed", text, final=True))
        return Decision(alone=frozenset(seq for seq in seqs if self._losses[seq] >= ALONE_AFTER))


def _was_asked_to_leave(death: WorkerExit) -> bool:
    """Tell a process that a batch system ends from one that its nanny ends for its memory."""
    return death.exitcode == -signal.SIGTERM and death.memory is None


def _why_killed(death: WorkerExit) -> str:
    if death.memory is not None:
        held, limit = (f"{size / 2**30:.2f} GiB" for size in death.memory)
        text = (
            f"the worker process was ended on {death.host} while it ran this pset: it held {held} "
            f"of memory and its limit is {limit}; give workers more, or have func hold less"
        )
    elif death.exitcode < 0:
        text = (
            f"the worker process was killed by signal {-death.exitcode} "
            f"({_signal_name(-death.exitcode)}) on {death.host} while it ran this pset"
        )
        if death.exitcode == -signal.SIGKILL:
            text += "; that is what the kernel does when memory runs out"
    else:
        text = (
            f"the worker process ended with exit status {death.exitcode} on {death.host} while it "
            "ran this pset: func, or a library that it calls, has left without an exception"
        )
    return _with_stack(text, death)


def _with_stack(text: str, death: WorkerExit) -> str:
    if not death.stack:
        return text
    return f"{text}\nIt was here (most recent call last):\n{death.stack.rstrip()}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return "no name"
