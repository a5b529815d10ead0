"""Measure three ways to scale batch jobs: ours, and dask-jobqueue's adapt and scale.

Run it by hand on an idle SLURM of two nodes with two CPUs each, which SLURM_CONF points to:

    python benchmarks/scaling.py [--quick] [--json] [--only SCENARIO]

It takes an hour, with --quick half of that. All have the same machine folder: jobs that fill
a node, with a worker process for each CPU. Ours writes its journal and database and speaks TLS.
The others are what a competent user would write: client.submit and as_completed with a rolling
window of two psets a slot, three retries, no TLS, nothing written. "adapt, tuned" has settings that
make dask ask for all jobs at once and take a lost worker for lost after 2 s; "adapt, threads" also
has one process of two threads in each job.

A driver is a process of its own. Its psets note when they begin and end, and in which job; this
process reads that, asks squeue five times a second, and takes nothing new in a minute for never.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import click
from common import Report, options
from scaling_driver import CONTESTANTS, JOBS, OURS, SLOTS
from scaling_episode import Outcome
from scaling_scenarios import SCENARIOS, Measures

PRESSURE_PATH = Path("/proc/pressure/cpu")
QUIET_PATIENCE_SECONDS = 30.0
"""So long the machine is waited for to be quiet."""


@options
@click.option("--only", help="Letters of the scenarios, of all by default.", default="abcdefg")
def main(as_json: bool, quick: bool, only: str) -> None:
    check_slurm()
    report = Report("scaling", as_json)
    report.facts()
    repeats = 1 if quick else 3
    rows = []
    for letter in only:
        outcomes = outcomes_of(SCENARIOS[letter], repeats, report)
        for measure in outcomes[OURS]:
            medians = {name: median(outcomes[name][measure]) for name in CONTESTANTS}
            rows.append({"": letter, "s": measure} | with_ratios(medians))
            for name in CONTESTANTS:
                report.measurement(
                    scenario=letter,
                    measure=measure,
                    contestant=name,
                    outcomes=outcomes[name][measure],
                    ratio_to_ours=ratio(medians[name], medians[OURS]),
                )
    slurm = subprocess.run(["sinfo", "--version"], capture_output=True, text=True, check=True)
    report.table(
        rows,
        f"Seconds or numbers, median of {repeats} (what never came is waited for once), and in "
        f"parentheses the ratio to ours. {slurm.stdout.strip()}, "
        f"dask-jobqueue {version('dask-jobqueue')}.",
    )


def check_slurm() -> None:
    """End if figures made here would mean nothing."""
    command = ["sinfo", "--noheader", "--Node", "--format=%N %c %T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    nodes = {tuple(line.split()) for line in done.stdout.splitlines()}
    if sorted(rest for _, *rest in nodes) != [[str(SLOTS), "idle"]] * JOBS:
        raise click.ClickException(
            f"an idle SLURM of {JOBS} nodes with {SLOTS} CPUs each is needed; "
            f"sinfo tells {sorted(nodes)} {done.stderr}"
        )


def outcomes_of(
    scenario: Callable[[str], Measures], repeats: int, report: Report
) -> dict[str, dict[str, list[Outcome]]]:
    """Let all contestants take turns."""
    outcomes: dict[str, dict[str, list[Outcome]]] = {name: {} for name in CONTESTANTS}
    for turn in range(repeats):
        for name in CONTESTANTS:
            before = outcomes[name].values()
            if any(str(outcome).startswith("never") for values in before for outcome in values):
                continue
            await_quiet()
            start, waited = time.time(), waited_for_cpu()
            measures = scenario(name)
            report.measurement(
                scenario=scenario.__name__,
                contestant=name,
                turn=turn,
                waited_for_cpu=(waited_for_cpu() - waited) / (time.time() - start),
                measures=measures,
            )
            for measure, outcome in measures.items():
                outcomes[name].setdefault(measure, []).append(outcome)
    return outcomes


def waited_for_cpu() -> float:
    """Count the seconds in which something on this machine had to wait for a CPU."""
    if not PRESSURE_PATH.exists():
        return 0.0
    return int(PRESSURE_PATH.read_text().splitlines()[0].rpartition("total=")[2]) / 1e6


def await_quiet() -> None:
    """Let others who use the machine finish, if that does not take too long."""
    deadline = time.time() + QUIET_PATIENCE_SECONDS
    while time.time() < deadline:
        before = waited_for_cpu()
        time.sleep(3)
        if waited_for_cpu() - before < 0.3:
            return


def median(outcomes: list[Outcome]) -> Outcome:
    numbers = [outcome for outcome in outcomes if isinstance(outcome, float)]
    if len(numbers) == len(outcomes):
        return statistics.median(numbers)
    words = [outcome for outcome in outcomes if isinstance(outcome, str)]
    return words[0] if not numbers else f"{words[0]} ({len(words)} of {len(outcomes)} times)"


def ratio(outcome: Outcome, ours: Outcome) -> float | None:
    if isinstance(outcome, str) or isinstance(ours, str) or not ours:
        return None
    return outcome / ours


def with_ratios(medians: Mapping[str, Outcome]) -> dict[str, str]:
    row = {}
    for name, outcome in medians.items():
        times = ratio(outcome, medians[OURS])
        text = outcome if isinstance(outcome, str) else f"{outcome:.3g}"
        row[name] = text if times is None or name == OURS else f"{text} ({times:.1f})"
    return row


if __name__ == "__main__":
    main()
