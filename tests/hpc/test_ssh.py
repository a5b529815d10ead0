from __future__ import annotations

import pytest
from helpers.offline_study import machine, write

import psweep_dask as ps
from psweep_dask.hpc.ssh import host_of, remote_shell, shell_to


def test_host_is_what_the_machine_says_or_else_its_name():
    write({**machine("one"), **machine("two", host="login.example.org")})
    assert (host_of("one"), host_of("two")) == ("one", "login.example.org")
    message = r"no machine 'tow'.*there are one, two.*did you mean.*a host is .* as in me@tow"
    with pytest.raises(ps.PsweepError, match=message):
        host_of("tow")
    write({"templates/machines/two/info.yaml": "host: 3"})
    with pytest.raises(
        ps.PsweepError, match="host=3; allowed is the name of a host, as ssh takes it$"
    ):
        host_of("two")


def test_host_is_the_name_itself_without_machines():
    assert host_of("me@login.example.org") == "me@login.example.org"
    for bad in ("-oProxyCommand=x", "a b", ""):
        with pytest.raises(ps.PsweepError, match="cannot be a host"):
            host_of(bad)


def test_host_with_an_at_sign_or_a_dot_may_stand_beside_machines():
    write({**machine("one"), **machine("big.org", host="login.example.org")})
    assert host_of("me@far") == "me@far"
    assert host_of("far.example.org") == "far.example.org"
    assert host_of("big.org") == "login.example.org"
    with pytest.raises(ps.PsweepError, match="cannot be a host"):
        host_of("-oProxyCommand=x@y")


def test_remote_shell_is_that_of_rsync(monkeypatch):
    monkeypatch.delenv("RSYNC_RSH", raising=False)
    assert remote_shell() == ["ssh"]
    monkeypatch.setenv("RSYNC_RSH", "ssh -F 'my config'")
    assert remote_shell(["-v"]) == ["ssh", "-F", "my config"]
    assert remote_shell(["-z", "-e", "ssh -p 1"]) == ["ssh", "-p", "1"]
    assert remote_shell(["--rsh=ssh -p 2"]) == ["ssh", "-p", "2"]
    assert remote_shell(["-ve", "ssh -p 3"]) == ["ssh", "-p", "3"]
    assert remote_shell(["-essh -p 4"]) == ["ssh", "-p", "4"]
    assert remote_shell(["--exclude", "x", "--times"]) == ["ssh", "-F", "my config"]
    with pytest.raises(ps.PsweepError, match="the remote shell .* cannot be used: No closing"):
        remote_shell(["-e", "ssh 'x"])
    assert shell_to("host", ["--rsh", "rsh"]) == ["rsh", "host"]
