from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.offline_study import write

from psweep_dask.offline.templates import TemplateError, gather, read, target_clash


def filled(text, values, mode="dollar"):
    write({"file": text})
    return read(Path("file"), "file", mode).fill(values).decode()


def test_dollar_fills_both_forms_and_keeps_doubled_ones():
    text = "a=$a b=${b}c $$HOME $$(hostname) $_pset_id\r\n"
    values = {"a": 1.5, "b": "x y", "_pset_id": "id"}
    assert filled(text, values) == "a=1.5 b=x yc $HOME $(hostname) id\r\n"


def test_dollar_knows_names_in_all_languages():
    assert filled("$größe", {"größe": 1, "gr": 2}) == "1"


def test_a_placeholder_without_a_value_is_told_with_file_and_line():
    with pytest.raises(TemplateError) as info:
        filled("$a\n\n$HOME $$x\n", {"a": 1, "b": 2, "_pset_id": "id"})
    assert str(info.value) == (
        "file, line 3: the placeholder $HOME has no value; this pset has a, b, and each has "
        "_pset_id and others; and $$HOME is a dollar followed by HOME"
    )


@pytest.mark.parametrize(("text", "shown"), [("echo $(hostname)", "$(hostname)"), ("5$", "$")])
def test_a_lonely_dollar_is_told_before_anything_is_filled(text, shown):
    write({"file": "\n" + text})
    with pytest.raises(TemplateError) as info:
        read(Path("file"), "file", "dollar")
    assert f"file, line 2: {shown!r} is no placeholder" in str(info.value)
    assert "$$ is a dollar" in str(info.value)


def test_jinja_fills_loops_and_quotes():
    text = "{% for x in xs %}{{ x|quote }} {% endfor %}{{ name|repr }} $HOME\n"
    values = {"xs": ["a b", 2], "name": "n'm"}
    assert filled(text, values, "jinja") == "'a b' 2 \"n'm\" $HOME\n"


def test_jinja_includes_what_is_beside_it():
    write({"t/main": "{% include 'part' %}!", "t/part": "a={{ a }}"})
    by_name = {one.target: one.fill({"a": 1}) for one in gather(Path("t"), "jinja")}
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
def test_jinja_tells_file_line_and_what_is_wrong(text, message):
    with pytest.raises(TemplateError, match=message):
        filled(text, {"a": 1}, "jinja")


def test_a_folder_is_taken_with_modes_subfolders_and_names_with_blanks():
    write(
        {"t/run me.sh": "$a", "t/sub/deep/x": "$a", "t/__pycache__/x.pyc": b"\0", "t/.hidden": ""}
    )
    os.chmod("t/run me.sh", 0o750)
    templates = gather(Path("t"), "dollar")
    assert [one.target for one in templates] == [".hidden", "run me.sh", "sub/deep/x"]
    for one in templates:
        one.write(Path("out"), {"a": 7})
    assert Path("out/sub/deep/x").read_text() == "7"
    assert Path("out/run me.sh").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize("data", [b"\x00\x01$a", b"\xff\xfe$a\xf0"])
def test_what_is_no_text_is_copied(data):
    write({"t/data.bin": data})
    (template,) = gather(Path("t"), "dollar")
    assert template.fill({}) == data
    assert template.text is None


def test_a_link_to_a_file_is_read_and_one_to_a_folder_refused():
    write({"t/x": "$a", "elsewhere/y": ""})
    os.symlink("x", "t/link")
    assert [one.target for one in gather(Path("t"), "dollar")] == ["link", "x"]
    os.symlink("../elsewhere", "t/folder")
    with pytest.raises(TemplateError, match="'t/folder' is a link to a folder"):
        gather(Path("t"), "dollar")


def test_a_link_to_nothing_is_told():
    write({"t/x": "$a"})
    os.symlink("me@host.1", "t/.#x")  # as editors leave them
    with pytest.raises(TemplateError, match="cannot read 't/.#x': No such file or directory; rem"):
        gather(Path("t"), "dollar")


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_a_value_that_is_no_text_is_told(error):
    class Odd:
        def __str__(self):
            raise error("odd")

    with pytest.raises(TemplateError, match="file: a value cannot be written as text: .*odd"):
        filled("$a", {"a": Odd()})


def test_a_missing_folder_is_told_with_where_it_was_looked_for():
    with pytest.raises(
        TemplateError, match=f"no folder 'templates/calc', seen from '{Path.cwd()}'"
    ):
        gather(Path("templates/calc"), "dollar")


def test_a_clash_is_found_at_the_top_only():
    write({"t/record.pk/x": "", "t/sub/pset.pk": ""})
    templates = gather(Path("t"), "dollar")
    assert target_clash(templates, ["pset.pk"]) is None
    assert target_clash(templates, ["record.pk"]).target == "record.pk/x"


def test_a_placeholder_of_jinja_is_not_copied_as_it_is(tmp_path):
    path = tmp_path / "run.py"
    path.write_text("print({{ a }}, {{ other }})")
    template = read(path, "run.py", "dollar")
    with pytest.raises(TemplateError, match=r'line 1: \{\{ a \}\} .* pass template_mode="jinja"'):
        template.fill({"a": 1})
    assert template.fill({"b": 1}) == b"print({{ a }}, {{ other }})"
