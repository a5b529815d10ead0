from __future__ import annotations

from pathlib import Path

import pytest
from helpers.offline_study import write

from psweep_dask.hpc.jobscript import noting_its_end
from psweep_dask.offline.outcome import Outcome, read_outcome
from psweep_dask.storage import pickling, record
from psweep_dask.storage.layout import PsetFolder

FOLDER = PsetFolder(Path("calc/p"))
BEGUN = 1_700_000_000


def left(with_func=False, **files):
    """What is found in a folder with these files, the dots in their names written as _."""
    names = {"result": "result.json", "record": "record.pk"}
    write({f"calc/p/{names.get(name, name)}": content for name, content in files.items()})
    return read_outcome(FOLDER, with_func).record


def ended(code):
    return f"exit_code={code} begun={BEGUN} ended={BEGUN + 7} host=n1\n"


@pytest.mark.parametrize("with_func", [True, False])
def test_nothing_is_known_of_a_folder_that_is_empty_missing_or_just_submitted(with_func):
    assert read_outcome(FOLDER, with_func) == Outcome()
    assert left(with_func, submitted_x="sbatch\n7\n", ended="") is None


def test_a_script_that_ended_well_is_ok_with_its_time_and_host():
    assert left(ended=ended(0)) == {
        "_status": "ok",
        "_exc_txt": None,
        "_exec_host": "n1",
        "_pset_runtime": 7.0,
        "_time_utc": BEGUN * 10**9,
    }


def test_results_become_columns_but_never_book_keeping():
    found = left(ended=ended(0), result='{"y": [1, 2], "_status": "fine", "_pset_seq": 3}')
    assert (found["y"], found["_status"]) == ([1, 2], "ok")
    assert "_pset_seq" not in found


def test_a_result_alone_is_enough():
    assert left(result='{"y": 1}') == {"y": 1, "_status": "ok", "_exc_txt": None}


def test_a_result_waits_for_the_end_that_its_script_will_note():
    script = noting_its_end("#!/bin/sh\nrun\n", "jobscript_c")
    assert left(result='{"y": 1}', jobscript_c=script) is None
    assert read_outcome(FOLDER, with_func=False).result == {"y": 1}
    assert left(ended=ended(3))["_status"] == "error"


def test_what_a_local_job_has_printed_is_quoted_and_what_sbatch_has_not():
    note = "sh\nslurm=\nhello\nworld\n"
    text = left(ended=ended(1), jobscript_c="", submitted_c=note)["_exc_txt"]
    assert text.endswith("\nThe end of its output, submitted_c:\nhello\nworld")
    note = "sbatch\nslurm=lab\nSubmitted batch job 7\n"
    text = left(ended=ended(1), jobscript_c="", submitted_c=note)["_exc_txt"]
    assert text == "the job script ended with exit code 1 on n1\n"


def test_a_result_that_is_nested_without_end_is_told():
    found = left(result="[" * 200_000, ended=ended(0))
    assert found["_exc_txt"].startswith("result.json is no JSON")


def test_half_a_result_waits_for_the_end_and_is_then_told():
    assert left(result='{"y": ') is None
    found = left(result='{"y": ', ended=ended(0))
    assert found["_status"] == "error"
    assert found["_exc_txt"].startswith("result.json is no JSON: ")


def test_a_result_that_is_no_object_is_told():
    found = left(result="[1]", ended=ended(0))
    assert found["_exc_txt"] == "result.json must hold a JSON object, {...}, and holds list"


def test_a_failure_quotes_the_end_of_the_newest_output_and_keeps_results():
    found = left(
        ended=ended(3),
        result='{"y": 1}',
        jobscript_c="#!/bin/sh\n#SBATCH --output=%j.txt\n",
        **{"7.txt": "".join(f"line {number}\n" for number in range(20))},
    )
    assert (found["_status"], found["y"]) == ("error", 1)
    first, second, *tail = found["_exc_txt"].splitlines()
    assert first == "the job script ended with exit code 3 on n1"
    assert second == "The end of its output, 7.txt:"
    assert tail == [f"line {number}" for number in range(5, 20)]


def test_what_a_signal_has_ended_is_killed_and_what_was_asked_to_leave_is_lost():
    assert left(ended=ended(128 + 11))["_status"] == "killed"
    assert "killed by signal 11" in left(ended=ended(128 + 11))["_exc_txt"]
    assert left(ended=ended(128 + 15))["_status"] == "lost"


def test_a_record_tells_all_but_where_the_study_is():
    data = record.pack([{"a": 1, "_calc_dir": "/elsewhere", "_status": "error", "y": 2.0}])
    found = left(with_func=True, record=data, ended=ended(1))
    assert found == {"a": 1, "_status": "error", "y": 2.0}
    write({"calc/p/pset.pk": pickling.dumps({"a": 1, "_pset_seq": 3})})
    assert left(with_func=True) == {"_status": "error", "y": 2.0}
    write({"calc/p/pset.pk": pickling.dumps({"a": 1.0})})  # func has made an int of it
    assert left(with_func=True) == {"a": 1, "_status": "error", "y": 2.0}


def test_a_damaged_record_is_none_and_its_job_lost():
    data = record.pack([{"a": 1, "_status": "ok"}])
    assert left(with_func=True, record=data[:-1]) is None
    assert left(with_func=True, ended=ended(0))["_status"] == "lost"


def test_a_job_without_its_record_says_what_the_job_has_said():
    text = left(with_func=True, ended=ended(1), **{"slurm-7.out": "No module named psweep_dask\n"})
    assert text == {
        "_status": "lost",
        "_exc_txt": "the job script ended with exit code 1 on n1 without a record\n"
        "The end of its output, slurm-7.out:\nNo module named psweep_dask",
    }
    asks = left(with_func=True, ended=ended(0))["_exc_txt"]
    assert asks.endswith("\nDoes it run 'python -m psweep_dask.offline.job' in 'calc/p'?")
