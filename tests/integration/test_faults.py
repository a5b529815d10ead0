"""Jobs that wait, are cancelled, never start, lose their node or reach their walltime."""

from __future__ import annotations

import re
import signal
from contextlib import ExitStack

import lab
import pytest
from drivers import wait_until


@pytest.mark.slow
def test_jobs_wait_as_long_as_it_takes_and_are_replaced_when_cancelled(study_folder):
    others = lab.occupy("-N2", "--exclusive")
    wait_until(lambda: lab.states() == ["RUNNING"])
    lab.write_machine(study_folder, **lab.TWO_BY_TWO)
    options = "cluster='lab', progress=True"
    with lab.driving(
        study_folder, body="    time.sleep(0.05)", count=20, options=options
    ) as driver:
        name = lab.jobs_of(study_folder)
        waits = re.compile(r"2 pending \((Resources|Priority)\)")
        lab.wait_with(driver, lambda: waits.search(lab.said(study_folder)))
        first, second = lab.jobs(name)
        lab.ask("scancel", first)
        lab.wait_with(
            driver,
            lambda: first not in lab.jobs(name) and lab.states(name) == ["PENDING"] * 2,
        )
        assert second in lab.jobs(name)
        lab.ask("scancel", others)
        assert driver.wait(60) == 0
    lab.assert_all_ok(study_folder, 20)
    assert sorted(lab.begun(study_folder)) == list(range(20))


@pytest.mark.slow
def test_without_a_bar_the_log_says_why_jobs_wait(study_folder):
    others = lab.occupy("-N2", "--exclusive")
    wait_until(lambda: lab.states() == ["RUNNING"])
    lab.write_machine(study_folder)
    with lab.driving(study_folder) as driver:
        waits = re.compile(r"2 pending \((Resources|Priority)\)")
        lab.wait_with(driver, lambda: waits.search(lab.said(study_folder)))
        driver.send_signal(signal.SIGINT)
        assert driver.wait(20) == 0
    lab.ask("scancel", others)


@pytest.mark.slow
def test_cancelled_jobs_and_lost_nodes_cost_no_attempt(study_folder):
    lab.write_machine(study_folder, **lab.TWO_BY_TWO)
    with lab.driving(study_folder, body="    wait_for('go', 0.5)", count=300) as driver:
        lab.wait_with(driver, lambda: len(lab.begun(study_folder)) > 8)
        name = lab.jobs_of(study_folder)
        (first, _), (second, (_, node)) = lab.jobs(name).items()

        def replaced(lost):
            return lost not in lab.jobs(name) and lab.states(name) == ["RUNNING"] * 2

        lab.ask("scancel", first)
        lab.wait_with(driver, lambda: replaced(first))
        lab.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        lab.wait_with(driver, lambda: second not in lab.jobs(name))
        lab.bring_back(node)
        lab.wait_with(driver, lambda: replaced(second))
        (study_folder / "go").touch()
        assert driver.wait(60) == 0
    lab.assert_all_ok(study_folder, 300)
    assert set(lab.begun(study_folder)) == set(range(300))
    assert len(lab.begun(study_folder)) <= 300 + 4  # the psets that ran on what was lost


@pytest.mark.slow
def test_jobs_that_bring_no_worker(study_folder):
    """One starts at the second try; the others end the run, and the error has the reason."""
    (study_folder / "no_python").write_text(
        "#!/bin/sh\nsleep 0.1\necho no python here >&2\nexit 4\n"
    )
    (study_folder / "no_python").chmod(0o755)
    bad = "echo 'module: no such module' >&2; exit 3"
    flaky = "mkdir tried 2>/dev/null && exit 3"
    machines = {
        "prologue": {"jobs": 2, "job_script_prologue": [bad]},
        "python": {"jobs": 1, "python": str(study_folder / "no_python")},
        "refused": {"jobs": 1, "cores": 64, "processes": 1},
        "flaky": {"jobs": 1, "job_script_prologue": [flaky]},
    }
    folders = {name: lab.folder_for(study_folder, name, one) for name, one in machines.items()}
    with ExitStack() as stack:
        drivers = {
            name: stack.enter_context(lab.driving(folder)) for name, folder in folders.items()
        }
        ended = {name: driver.wait(60) for name, driver in drivers.items()}
    said = {name: lab.said(folder) for name, folder in folders.items()}
    assert ended == {"prologue": 1, "python": 1, "refused": 1, "flaky": 0}
    for name, line, code in [
        ("prologue", "module: no such module", 3),
        ("python", "no python here", 4),
    ]:
        error = said[name][said[name].index("ExecutorError: ") :]
        assert "3 jobs in a row have ended without a worker of theirs" in error
        assert re.search(r"the last, job \d+, as FAILED \(NonZeroExitCode\)", error), code
        assert re.search(r"should reach the scheduler at tls://[\d.]+:\d+;", error)
        assert f"\n    {line}\n" in error
    refusal = "More processors requested than permitted"
    error = said["refused"][said["refused"].index("ExecutorError: ") :]
    assert "the batch system takes no job: sbatch: error: " in error
    assert refusal in error
    assert "correct cores: below jobqueue: in info.yaml" in error
    lab.assert_all_ok(folders["flaky"], 4)
    assert [len(lab.begun(folder)) for folder in folders.values()] == [0, 0, 0, 4]


@pytest.mark.slow
def test_a_walltime_costs_nothing_and_what_never_fits_is_told(study_folder):
    """Jobs of a minute, which SLURM ends after 60 to 90 s."""
    short = lab.folder_for(study_folder, "short", {"jobs": 1, "walltime": "1"})
    long = lab.folder_for(study_folder, "long", {"jobs": 1, "walltime": "0:20"})
    told = """
    time.sleep(5)
    return {"job": os.environ["SLURM_JOB_ID"]}
"""
    with ExitStack() as stack:
        drivers = [
            stack.enter_context(lab.driving(short, body=told, count=13)),
            stack.enter_context(lab.driving(long, body="    time.sleep(300)", count=1)),
        ]
        assert [driver.wait(150) for driver in drivers] == [0, 0]
    df = lab.assert_all_ok(short, 13)
    assert sorted(lab.begun(short)) == list(range(13))
    assert df.job.nunique() == 2
    assert "were lost" not in lab.said(short)
    (row,) = lab.rows(long).itertuples()
    assert row[lab.rows(long).columns.get_loc("_status") + 1] == "killed"
    assert lab.begun(long) == [0]
    assert re.search(
        r"the walltime of its job, 60 s, ended the pset after \d\d s.*: it does not fit",
        lab.said(long),
    )
