"""What a person or a program gets to see."""

from __future__ import annotations

import datetime as dt
import json
import sys

import pytest

from drunner_vault.cli.output import Events, Output, age, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.1, "in the future"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86399, "23 h"),
        (86400, "1 d"),
        (2.9 * 86400, "2 d"),
        (700 * 86400, "700 d"),
        (2 * 365.25 * 86400, "2 y"),
        (10.9 * 365.25 * 86400, "10 y"),
    ],
)
def test_an_age_is_told_in_full_ones_of_its_largest_unit(seconds: float, text: str) -> None:
    assert age(dt.timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 41, "2.0 TiB")])
def test_a_size_is_told_in_its_largest_unit(count: int, text: str) -> None:
    assert size(count) == text


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def events_of(printed: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_progress_is_told_as_one_object_a_line_at_most_once_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    ticks = Ticks()
    events = Events(ticks)
    events.advance(1)
    ticks.now += 2.9
    events.advance(1)
    assert capsys.readouterr().out == ""  # what ends so soon has a result only
    for what in ("one", "two"):
        events.begin(what, 4000)
        for _ in range(40):
            ticks.now += 0.1
            events.advance(100)
    told = events_of(capsys.readouterr().out)
    assert 6 <= len(told) <= 8
    assert {tuple(event) for event in told} == {("event", "what", "done", "total", "rate", "left")}
    first = next(event for event in told if event["what"] == "two")
    assert (first["event"], first["total"]) == ("progress", 4000)
    assert abs(int(str(first["rate"])) - 1000) <= 10
    assert first["left"] == 3


def test_progress_of_nothing_and_of_an_unknown_size_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    ticks = Ticks()
    events = Events(ticks)
    events.begin("empty", 0)
    ticks.now += 5
    events.advance(0)
    events.begin("pipe", None)
    ticks.now += 5
    events.advance(10)
    events.begin("stuck", 10)
    ticks.now += 5
    events.advance(0)
    told = events_of(capsys.readouterr().out)
    assert [(event["what"], event["rate"], event["left"]) for event in told] == [
        ("empty", 0, None),
        ("pipe", 2, None),
        ("stuck", 0, None),
    ]


def test_the_result_of_long_work_is_its_last_line_and_a_person_sees_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True, long=True)
    with output.progress() as progress:
        progress.begin("work", 1)
        progress.advance(1)
    output.document({"a": "\n"})
    output.text("for people")
    output.table(["A"], [["b"]])
    assert events_of(capsys.readouterr().out) == [{"event": "result", "a": "\n"}]
    plain = Output(long=True)
    with plain.progress() as progress:
        assert not progress.visible
    plain.document({"a": 1})
    assert capsys.readouterr().out == ""


def test_what_others_wrote_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(["NAME"], [["\x1b[2Jevil\n"], ["[/red]"]])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert printed.splitlines() == ["NAME", "\\x1b[2Jevil\\n", "[/red]"]


def test_markup_in_names_is_shown_on_a_terminal_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    Output().table(["NAME"], [["[/red]"], ["[bold]x"], ["\x1b[2J"]])
    printed = capsys.readouterr().out
    assert "[/red]" in printed
    assert "[bold]x" in printed
    assert "\\x1b[2J" in printed


def test_a_table_that_is_wider_than_the_terminal_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for columns, drawn in ((26, True), (25, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        Output().table(["HOST", "ARCHIVE"], [["alpha", "notes-20260131"]])
        printed = capsys.readouterr().out
        assert "notes-20260131" in printed
        assert ("│" in printed) is drawn
