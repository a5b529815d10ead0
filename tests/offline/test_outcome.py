from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from helpers.offline_study import write

from psweep_dask.hpc.jobscript import TERMINATED_EXIT_CODE, add_end_lines
from psweep_dask.offline.job_status import JobStatus
from psweep_dask.offline.outcome import JobOutcome, job_output, pending_row_status, read_outcome
from psweep_dask.storage import pickling, record
from psweep_dask.storage.layout import PsetFolder

FOLDER = PsetFolder(Path("calc/p"))
BEGUN = 1_700_000_000


def left(with_func=False, **files):
    """What is read from a folder with these files, the dots in their names written as _."""
    names = {"result": "result.json", "record": "record.pk"}
    write({f"calc/p/{names.get(name, name)}": content for name, content in files.items()})
    return read_outcome(FOLDER, with_func).record


def ended(code):
    return f"exit_code={code} begun={BEGUN} ended={BEGUN + 7} host=n1\n"


@pytest.mark.parametrize("with_func", [True, False])
def test_read_outcome_of_a_folder_that_is_empty_missing_or_just_submitted(with_func):
    assert read_outcome(FOLDER, with_func) == JobOutcome()
    assert left(with_func, submitted_x="sbatch\n7\n", ended="") is None


def test_ended_with_exit_code_0_is_ok_with_time_and_host():
    assert left(ended=ended(0)) == {
        "_status": "ok",
        "_exc_txt": None,
        "_exec_host": "n1",
        "_pset_runtime": 7.0,
        "_time_utc": BEGUN * 10**9,
    }


@pytest.mark.parametrize("with_func", [True, False])
@pytest.mark.parametrize(
    ("code", "status"),
    [(1, "error"), (128, "error"), (128 + 11, "killed"), (TERMINATED_EXIT_CODE, "lost")],
)
def test_ended_with_a_failing_exit_code_sets_the_status(code, status, with_func):
    fields = left(with_func, ended=ended(code))
    assert fields["_status"] == ("lost" if with_func else status)
    assert f"ended with exit code {code} on n1" in fields["_exc_txt"]


def test_ended_by_a_signal_names_the_signal():
    assert "killed by signal 11" in left(ended=ended(128 + 11))["_exc_txt"]


def test_result_json_becomes_columns_but_never_book_keeping():
    fields = left(ended=ended(0), result='{"y": [1, 2], "_status": "fine", "_pset_seq": 3}')
    assert (fields["y"], fields["_status"]) == ([1, 2], "ok")
    assert "_pset_seq" not in fields


def test_result_json_alone_is_enough():
    assert left(result='{"y": 1}') == {"y": 1, "_status": "ok", "_exc_txt": None}


def test_result_json_waits_for_a_job_script_that_will_write_ended():
    script = add_end_lines("#!/bin/sh\nrun\n", "jobscript_c")
    assert left(result='{"y": 1}', jobscript_c=script) is None
    assert read_outcome(FOLDER, with_func=False) == JobOutcome(None, {"y": 1}, writes_ended=True)
    assert left(ended=ended(3))["_status"] == "error"


@pytest.mark.parametrize("script", ["#!/usr/bin/python3\n", "#!/bin/sh\nexec run\n"])
def test_job_script_that_might_not_write_ended(script):
    left(jobscript_c=add_end_lines(script, "jobscript_c"))
    assert not read_outcome(FOLDER, with_func=False).writes_ended


def test_result_json_that_is_nested_without_end_is_an_error():
    fields = left(result="[" * 200_000, ended=ended(0))
    assert fields["_exc_txt"].startswith("result.json is no JSON")


def test_result_json_that_is_half_written_waits_for_the_end_of_the_job():
    assert left(result='{"y": ') is None
    fields = left(result='{"y": ', ended=ended(0))
    assert fields["_status"] == "error"
    assert fields["_exc_txt"].startswith("result.json is no JSON: ")


def test_result_json_that_is_no_object_is_an_error():
    fields = left(result="[1]", ended=ended(0))
    assert fields["_exc_txt"] == "result.json must hold a JSON object, {...}, and holds list"


def test_result_json_with_a_name_that_is_no_text_is_an_error():
    fields = left(result='{"\\ud800": 1}', ended=ended(0))
    assert fields["_status"] == "error"
    assert "cannot be written as UTF-8" in fields["_exc_txt"]


def test_job_output_of_a_local_job_is_quoted_and_that_of_sbatch_is_not():
    submitted = "sh\nslurm=\nhello\nworld\n"
    text = left(ended=ended(1), jobscript_c="", submitted_c=submitted)["_exc_txt"]
    assert text.endswith("\nThe end of its output, submitted_c:\nhello\nworld")
    submitted = "sbatch\nslurm=lab\nSubmitted batch job 7\n"
    text = left(ended=ended(1), jobscript_c="", submitted_c=submitted)["_exc_txt"]
    assert text == "the job script ended with exit code 1 on n1\n"


def test_job_output_is_not_in_a_folder_with_the_name_of_a_submission():
    Path("calc/p/submitted_c").mkdir(parents=True)
    text = left(ended=ended(1), jobscript_c="")["_exc_txt"]
    assert text == "the job script ended with exit code 1 on n1\n"


def test_job_output_is_the_end_of_the_newest_file_and_results_stay():
    fields = left(
        ended=ended(3),
        result='{"y": 1}',
        jobscript_c="#!/bin/sh\n#SBATCH --output=%j.txt\n",
        **{"7.txt": "".join(f"line {number}\n" for number in range(20))},
    )
    assert (fields["_status"], fields["y"]) == ("error", 1)
    first, second, *lines = fields["_exc_txt"].splitlines()
    assert first == "the job script ended with exit code 3 on n1"
    assert second == "The end of its output, 7.txt:"
    assert lines == [f"line {number}" for number in range(5, 20)]


def test_record_has_all_fields_but_where_the_study_is():
    data = record.pack([{"a": 1, "_calc_dir": "/elsewhere", "_status": "error", "y": 2.0}])
    fields = left(with_func=True, record=data, ended=ended(1))
    assert fields == {"a": 1, "_status": "error", "y": 2.0}
    write({"calc/p/pset.pk": pickling.dumps({"a": 1, "_pset_seq": 3})})
    assert left(with_func=True) == {"_status": "error", "y": 2.0}
    write({"calc/p/pset.pk": pickling.dumps({"a": 1.0})})  # func has made an int of it
    assert left(with_func=True) == {"a": 1, "_status": "error", "y": 2.0}


def test_record_that_is_damaged_is_none_and_its_job_lost():
    data = record.pack([{"a": 1, "_status": "ok"}])
    assert left(with_func=True, record=data[:-1]) is None
    assert left(with_func=True, ended=ended(0))["_status"] == "lost"


def test_record_that_is_missing_is_lost_with_the_output_of_the_job():
    fields = left(
        with_func=True, ended=ended(1), **{"slurm-7.out": "No module named psweep_dask\n"}
    )
    assert fields == {
        "_status": "lost",
        "_exc_txt": "the job script ended with exit code 1 on n1 without a record\n"
        "The end of its output, slurm-7.out:\nNo module named psweep_dask",
    }
    text = left(with_func=True, ended=ended(0))["_exc_txt"]
    assert text.endswith("\nDoes it run 'python -m psweep_dask.offline.job' in 'calc/p'?")


UNREADABLE = None
OK = JobOutcome({"_status": "ok", "y": 1})
FAILED = [JobOutcome({"_status": status}) for status in ("error", "timeout", "killed")]
LOST = JobOutcome({"_status": "lost"})
NO_RECORD = JobOutcome(None, {"y": 1})
NO_RECORD_NO_END = JobOutcome(None, {"y": 1}, writes_ended=False)
OUTCOMES = [UNREADABLE, OK, *FAILED, LOST, NO_RECORD, NO_RECORD_NO_END]

IN_QUEUE = [JobStatus("pending"), JobStatus("running")]
UNKNOWN = [JobStatus("submitted"), JobStatus("not known to be submitted")]
EXIT_0, EXIT_1, ENDED = (
    JobStatus("ended", succeeded, "7 is X") for succeeded in (True, False, None)
)
JOBS = [*IN_QUEUE, *UNKNOWN, EXIT_0, EXIT_1, ENDED]

BEFORE, RECORDED = "the status before", "the status of the record"

# Each row of the table in pending_row_status: which cases it decides, and how.
TABLE = {
    1: (product([UNREADABLE], JOBS), BEFORE),
    2: (product([OK], JOBS), "ok"),
    3: (product([*FAILED, LOST, NO_RECORD, NO_RECORD_NO_END], IN_QUEUE), "prepared"),
    4: (product([*FAILED, LOST], [*UNKNOWN, EXIT_0, EXIT_1, ENDED]), RECORDED),
    5: (product([NO_RECORD, NO_RECORD_NO_END], UNKNOWN), BEFORE),
    6: ([(NO_RECORD_NO_END, EXIT_0)], "ok"),
    7: ([(NO_RECORD_NO_END, EXIT_1)], "error"),
    8: ([(NO_RECORD_NO_END, ENDED), *product([NO_RECORD], [EXIT_0, EXIT_1, ENDED])], "lost"),
}
CASES = [(row, *case, status) for row, (cases, status) in TABLE.items() for case in cases]


@pytest.mark.parametrize("before", ["prepared", "lost"])
@pytest.mark.parametrize(("row", "outcome", "job", "status"), CASES)
def test_pending_row_status_follows_its_table(row, outcome, job, status, before):
    fields = pending_row_status(before, outcome, job, FOLDER)
    if status == RECORDED:
        assert fields == outcome.record
    else:
        assert fields["_status"] == (before if status == BEFORE else status)
    if row in (6, 7):
        assert fields["y"] == 1


def test_pending_row_status_decides_each_case_once():
    cases = [(outcome, job) for _, outcome, job, _ in CASES]
    assert all(cases.count(case) == 1 for case in product(OUTCOMES, JOBS))
    assert len(cases) == len(OUTCOMES) * len(JOBS)


def test_pending_row_status_says_why():
    write({"calc/p/slurm-7.out": "hello\n"})
    failed = pending_row_status("prepared", NO_RECORD_NO_END, EXIT_1, FOLDER)
    assert failed["_exc_txt"] == "the job has failed: 7 is X"
    lost = pending_row_status("prepared", NO_RECORD, ENDED, FOLDER)
    assert lost["_exc_txt"] == (
        "the job has ended, and no file here says how: 7 is X\nIf its files are on another "
        f"machine, pull them, and collect again.\n{job_output(FOLDER)}"
    )
    assert lost["_exc_txt"].endswith("slurm-7.out:\nhello")
    again = pending_row_status("lost", OK, ENDED, FOLDER)
    assert again == {"_status": "ok", "y": 1}
