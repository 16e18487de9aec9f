"""Literal bash, read and written; bash itself is the judge."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drunner_vault.services.shell import LiteralError, Value, parse_assignments, quote, render_array, render_assignments

AWKWARD = st.text(
    alphabet=st.one_of(st.sampled_from("\\\"'$`!#;&|<>(){}[]*?~^= \t\n\r\x02é€😀-aZ0"), st.characters(codec="utf-8")),
    max_size=20,
).filter(lambda text: not set(text) & {"\0", "\x01", "\x7f"})


def bash_reads(path: Path) -> dict[str, Value]:
    """What bash has in the variables A (a string) and B (an array) after it sourced the file."""
    show = 'source "$1"; printf "%s\\0" "$A" "${B[@]}"'
    done = subprocess.run(["bash", "-c", show, "bash", path], capture_output=True, check=True)
    assert done.stderr == b""
    first, *rest = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return {"A": first, "B": tuple(rest)}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=AWKWARD, items=st.lists(AWKWARD, max_size=4))
def test_bash_and_our_parser_read_back_what_was_rendered(tmp_path: Path, value: str, items: list[str]) -> None:
    wanted: dict[str, Value] = {"A": value, "B": tuple(items)}
    path = tmp_path / "variables.sh"
    path.write_bytes(render_assignments(wanted).encode())
    assert parse_assignments(path.read_bytes()) == wanted
    assert bash_reads(path) == wanted


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="AB=()'\"\\#;& \n\t$`ax-*", max_size=25))
def test_whatever_is_accepted_is_read_as_bash_reads_it(tmp_path: Path, text: str) -> None:
    try:
        ours = parse_assignments(text)
    except LiteralError:
        return
    path = tmp_path / "settings.sh"
    path.write_text(text)
    if set(ours) <= {"A", "B"} and isinstance(ours.get("A", ""), str) and isinstance(ours.get("B", ()), tuple):
        assert bash_reads(path) == {"A": "", "B": (), **ours}


def test_a_nul_cannot_be_rendered() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


@pytest.mark.parametrize("char", ["\0", "\x01", "\x7f"])
def test_what_bash_would_garble_in_an_array_cannot_be_rendered(char: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        render_array(["a", f"b{char}"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("#!/bin/bash\n# A=1\n\n  \t\n", None),
        ("A=plain", "plain"),
        ("A=", ""),
        ("A='s $x'", "s $x"),
        ('A="d \\$x \\" \\\\ \\a"', 'd $x " \\ \\a'),
        ("A=a\\ b", "a b"),
        ("A=a\"b\"'c'd", "abcd"),
        ("A=a#b # c", "a#b"),
        ("A=b=c", "b=c"),
        ("A=a;", "a"),
        ("A=a\\\nb", "ab"),
        ('A="a\\\nb"', "ab"),
        ('A="a\nb"', "a\nb"),
        ("  readonly A=1  ", "1"),
        ("export A=1;#x", "1"),
        ("declare -r -x A=1", "1"),
        ("A=()", ()),
        ("A=( )", ()),
        ("A=(a 'b c' \"d\")", ("a", "b c", "d")),
        ("A=(\n  a # first\n\n  'b'\n)\n", ("a", "b")),
        ("declare -a A=('')", ("",)),
        ("A=(a \\\n b)", ("a", "b")),
        ("A=(a#b)", ("a#b",)),
        ("#!/bin/bash\r\nA=(\r\n a\r\n 'b' )\r\n", ("a", "b")),
        ("A=1\r\n", "1"),
        ("A=1\r", "1"),
    ],
)
def test_literal_assignments_are_read(text: str, value: Value | None) -> None:
    assert parse_assignments(text) == ({} if value is None else {"A": value})


def test_bytes_that_are_not_utf8_survive() -> None:
    assert parse_assignments(b"A='\xff'") == {"A": "\udcff"}


@pytest.mark.parametrize(
    "line",
    [
        "A=$(id)",
        "A=`id`",
        'A="$(id)"',
        'A="`id`"',
        "A=$B",
        'A="${B}"',
        "A=(*)",
        "A=(a[0])",
        "A=([1]=x)",
        "A=({a,b})",
        "A=(~/x)",
        "A=$'x'",
        "A=(a; b)",
        "A=(a;)",
        "A=(a & b)",
        "A=((1))",
        "A=(a)(b)",
        "A=(a)b",
        "A+=(b)",
        "A[0]=b",
        "A =b",
        "A= (b)",
        "A=a)",
        "A=a;;",
        "A=a & B=b",
        "A=a | B=b",
        "A=a > /etc/passwd",
        "A=a reboot",
        "declare -i A=1+1",
        "export A",
        "reboot",
        "source other.sh",
        ". other.sh",
        "if true; then A=1; fi",
        "A=1 && B=2",
        "A='\0'",
        'A="\0"',
        "A=a\0",
        "A=a\\",
        ";",
    ],
)
def test_anything_that_bash_would_act_on_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(LiteralError) as caught:
        parse_assignments(f"# a comment\nX='1\n2'\n{line}\n" if line != "A=a\\" else f"\nX='1\n2'\n{line}")
    assert caught.value.line == 4 if line != "A=a\\" else 4
    assert caught.value.text == line


@pytest.mark.parametrize(("text", "line"), [("A='x\ny", 1), ('\nA="x', 2), ("\n\nA=(x\n\n", 3)])
def test_what_is_never_closed_is_shown_where_it_begins(text: str, line: int) -> None:
    with pytest.raises(LiteralError, match="never closed") as caught:
        parse_assignments(text)
    assert caught.value.line == line


def test_setting_a_variable_twice_is_refused() -> None:
    with pytest.raises(LiteralError, match="A is set twice"):
        parse_assignments("A=1\nA=2\n")
