from __future__ import annotations

import datetime as dt
import json

import dask

from psweep_dask.study import provenance


def test_a_session_is_described_and_can_be_written_as_json(study_folder):
    info, patch = provenance.describe(study_folder)
    assert json.loads(json.dumps(info)) == info
    assert info["cwd"] == str(study_folder)
    assert info["packages"]["dask"] == dask.__version__
    assert info["git"] is None
    assert patch == ""


def test_now_is_in_utc():
    assert dt.datetime.fromisoformat(provenance.now()).utcoffset() == dt.timedelta(0)


def test_a_user_without_a_name_is_no_error(study_folder, monkeypatch):
    def nobody():
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert provenance.describe(study_folder)[0]["user"] == "unknown"
