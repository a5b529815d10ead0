from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.offline_study import write

from psweep_dask.offline.templates import TemplateError, read_template, read_templates


def filled(text, values, mode="dollar"):
    write({"file": text})
    return read_template(Path("file"), "file", mode).fill(values).decode()


def test_dollar_fills_both_forms_and_keeps_doubled_ones():
    text = "a=$a b=${b}c $$HOME $$(hostname) $_pset_id\r\n"
    values = {"a": 1.5, "b": "x y", "_pset_id": "id"}
    assert filled(text, values) == "a=1.5 b=x yc $HOME $(hostname) id\r\n"


def test_dollar_knows_names_in_all_languages():
    assert filled("$größe", {"größe": 1, "gr": 2}) == "1"


def test_dollar_without_a_value_is_an_error_with_file_and_line():
    with pytest.raises(TemplateError) as info:
        filled("$a\n\n$HOME $$x\n", {"a": 1, "b": 2, "_pset_id": "id"})
    assert str(info.value) == (
        "file, line 3: the placeholder $HOME has no value; this pset has a, b, and each has "
        "_pset_id and others; and $$HOME is a dollar followed by HOME"
    )


@pytest.mark.parametrize(("text", "shown"), [("echo $(hostname)", "$(hostname)"), ("5$", "$")])
def test_dollar_without_a_name_is_an_error_before_anything_is_filled(text, shown):
    write({"file": "\n" + text})
    with pytest.raises(TemplateError) as info:
        read_template(Path("file"), "file", "dollar")
    assert f"file, line 2: {shown!r} is no placeholder" in str(info.value)
    assert "$$ is a dollar" in str(info.value)


def test_jinja_fills_loops_and_quotes():
    text = "{% for x in xs %}{{ x|quote }} {% endfor %}{{ name|repr }} $HOME\n"
    values = {"xs": ["a b", 2], "name": "n'm"}
    assert filled(text, values, "jinja") == "'a b' 2 \"n'm\" $HOME\n"


@dataclasses.dataclass
class Mesh:
    nodes: np.ndarray
    h: float


LONG = np.arange(2000) / 3
VALUES = {
    "long": (LONG, str(LONG.tolist())),
    "float": (np.float64(0.1), "0.1"),
    "float32": (np.float32(0.5), "0.5"),
    "longdouble": ([np.longdouble("0.1")], "[0.1]"),
    "int": (np.int64(2**60 + 1), "1152921504606846977"),
    "bool": (np.bool_(True), "True"),
    "0d": (np.array(7), "7"),
    "2d": (np.eye(2, dtype=int), "[[1, 0], [0, 1]]"),
    "list": ([np.float64(0.1), (np.int8(1),)], "[0.1, (1,)]"),
    "dict": ({"a": np.array([1, 2]), np.int64(3): None}, "{'a': [1, 2], 3: None}"),
    "masked": (np.ma.array([1, 2], mask=[True, False]), "[None, 2]"),
    "date": (np.datetime64("2026-01-02"), "2026-01-02"),
    "dates": (np.array(["2026-01-02"], "datetime64[ns]"), "['2026-01-02T00:00:00.000000000']"),
    "series": (pd.Series(LONG), str(LONG.tolist())),
    "text": (np.str_("x"), "x"),
}


def test_arrays_in_dataclasses_are_written_whole():
    for mode, text in (("dollar", "$a"), ("jinja", "{{ a }}")):
        written = filled(text, {"a": Mesh(LONG, np.float64(0.1))}, mode)
        numbers = re.search(r"array\(\[(.*)\]\), h=0.1\)$", written)[1].split(", ")
        assert list(map(float, numbers)) == LONG.tolist()


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize(("mode", "text"), [("dollar", "<$a>"), ("jinja", "<{{ a }}>")])
def test_value_of_numpy_is_written_whole_and_as_python_writes_it(kind, mode, text):
    value, expected = VALUES[kind]
    assert filled(text, {"a": value}, mode) == f"<{expected}>"


def test_jinja_filters_know_numpy_and_expressions_have_arrays():
    values = {"a": np.array([0.5, 2]), "b": [np.float32(0.5)], "c": np.arange(2000), "d": {1, 2}}
    assert filled("{{ a|repr }} {{ b|repr }}", values, "jinja") == "[0.5, 2.0] [0.5]"
    assert filled("{{ b|quote }}", values, "jinja") == "'[0.5]'"
    assert filled("{{ a.sum() }} {{ a[1] }} {{ a.shape }}", values, "jinja") == "2.5 2.0 (2,)"
    assert json.loads(filled("{{ c|tojson }}", values, "jinja")) == list(range(2000))
    mapping = {"x": [np.int64(1), None], "y": np.array([[0.5]]), "z": dt.date(2026, 1, 2)}
    text = filled("{{ a|tojson }}", {"a": mapping}, "jinja")
    assert json.loads(text) == {"x": [1, None], "y": [[0.5]], "z": "2026-01-02"}


def test_jinja_includes_what_is_beside_it():
    write({"t/main": "{% include 'part' %}!", "t/part": "a={{ a }}"})
    templates = read_templates(Path("t"), "jinja")
    by_name = {template.target: template.fill({"a": 1}) for template in templates}
    assert by_name == {"main": b"a=1!", "part": b"a=1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n{{ b }}", "file, line 2: 'b' is undefined; this pset has a, and"),
        ("\n{{ a.b.c }}", "file, line 2: .* has no attribute 'b'"),
        ("\n\n{% if %}", "file, line 3: Expected an expression"),
        ("\n{{ a / 0 }}", r"file, line 2: ZeroDivisionError"),
    ],
)
def test_jinja_errors_have_file_line_and_cause(text, message):
    with pytest.raises(TemplateError, match=message):
        filled(text, {"a": 1}, "jinja")


def test_read_templates_keeps_modes_subfolders_and_names_with_blanks():
    write(
        {"t/run me.sh": "$a", "t/sub/deep/x": "$a", "t/__pycache__/x.pyc": b"\0", "t/.hidden": ""}
    )
    os.chmod("t/run me.sh", 0o750)
    templates = read_templates(Path("t"), "dollar")
    assert [template.target for template in templates] == [".hidden", "run me.sh", "sub/deep/x"]
    for template in templates:
        template.write(Path("out"), {"a": 7})
    assert Path("out/sub/deep/x").read_text() == "7"
    assert Path("out/run me.sh").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("data", [b"\x00\x01$a", b"\xff\xfe$a\xf0"])
def test_file_that_is_not_text_is_copied(data):
    write({"t/data.bin": data})
    (template,) = read_templates(Path("t"), "dollar")
    assert template.fill({}) == data
    assert template.text is None


def test_link_to_a_file_is_read_and_one_to_a_folder_is_an_error():
    write({"t/x": "$a", "elsewhere/y": ""})
    os.symlink("x", "t/link")
    assert [template.target for template in read_templates(Path("t"), "dollar")] == ["link", "x"]
    os.symlink("../elsewhere", "t/folder")
    with pytest.raises(TemplateError, match="'t/folder' is a link to a folder"):
        read_templates(Path("t"), "dollar")


def test_link_to_nothing_is_an_error():
    write({"t/x": "$a"})
    os.symlink("me@host.1", "t/.#x")  # as editors leave them
    with pytest.raises(TemplateError, match="cannot read 't/.#x': No such file or directory; rem"):
        read_templates(Path("t"), "dollar")


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_value_that_cannot_be_text_is_an_error(error):
    class Odd:
        def __str__(self):
            raise error("odd")

    with pytest.raises(TemplateError, match="file: a value cannot be written as text: .*odd"):
        filled("$a", {"a": Odd()})


def test_folder_that_is_missing_is_an_error_with_the_working_directory():
    with pytest.raises(
        TemplateError, match=f"no folder 'templates/calc', seen from '{Path.cwd()}'"
    ):
        read_templates(Path("templates/calc"), "dollar")


def test_dollar_mode_refuses_a_placeholder_of_jinja(tmp_path):
    path = tmp_path / "run.py"
    path.write_text("print({{ a }}, {{ other }})")
    template = read_template(path, "run.py", "dollar")
    with pytest.raises(TemplateError, match=r'line 1: \{\{ a \}\} .* pass template_mode="jinja"'):
        template.fill({"a": 1})
    assert template.fill({"b": 1}) == b"print({{ a }}, {{ other }})"
