"""Retention, case by case: what was there, what was asked for, and what must become of each, in golden/*.golden.

A line of a case is: when it was made, its key with what else is known of it, the verdict, the reasons. A verdict may
say until when; then that is checked too.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from drunner_vault.policy import Candidate, Decision, Retention, decide, parse_duration

CASES = sorted((Path(__file__).parent / "golden").iterdir())
LINE = re.compile(r"(\S+)  (\w+)(?:\(([^)]+)\))?  (keep|delete)(?:\(until=(\S+)\))?  (\S.*)")


@dataclass(frozen=True)
class Expected:
    """A decision as a case tells it. until: as written there; None where it says nothing."""

    key: str
    keep: bool
    reasons: tuple[str, ...]
    until: str | None


@dataclass(frozen=True)
class Case:
    zone: ZoneInfo
    now: dt.datetime
    retention: Retention
    candidates: list[Candidate]
    expected: list[Expected]


def rules(words: list[str]) -> Retention:
    """From words like daily=7 and within=30d."""
    values = dict(word.split("=") for word in words)
    within = parse_duration(values.pop("within")) if "within" in values else None
    return Retention(keep_within=within, **{f"keep_{name}": int(number) for name, number in values.items()})


def read_line(line: str) -> tuple[Candidate, Expected]:
    match = LINE.fullmatch(line)
    assert match, f"cannot read {line!r}"
    created, key, known, verdict, until, reasons = match.groups()
    facts = dict(word.partition("=")[::2] for word in (known or "").split())
    locked = facts.pop("locked", None)
    complete = facts.pop("incomplete", None) is None
    assert not facts, f"unknown: {facts}"
    candidate = Candidate(key, moment(created), complete, moment(locked) if locked else None)
    return candidate, Expected(key, verdict == "keep", tuple(reasons.split("; ")), until)


def moment(text: str) -> dt.datetime:
    assert text.endswith("Z")
    return dt.datetime.fromisoformat(text)


def read_case(text: str) -> Case:
    why, zone, now, keep, *lines = text.splitlines()
    assert why.startswith("# ")
    pairs = [read_line(line) for line in lines]
    heads = [line.split(" ") for line in (zone, now, keep)]
    assert [head[0] for head in heads] == ["zone", "now", "keep"]
    return Case(
        ZoneInfo(heads[0][1]), moment(heads[1][1]), rules(heads[2][1:]), [a for a, _ in pairs], [b for _, b in pairs]
    )


def told(decision: Decision, expected: Expected | None) -> Expected:
    """The decision in the words of a case, without the moment where the case does not tell it."""
    until = decision.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if decision.expires else "never"
    return Expected(decision.key, decision.keep, decision.reasons, until if expected and expected.until else None)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_each_archive_gets_the_verdict_and_reasons_it_must(path: Path) -> None:
    case = read_case(path.read_text(encoding="utf-8"))
    decisions = decide(reversed(case.candidates), case.retention, case.now, case.zone)
    by_key = {expected.key: expected for expected in case.expected}
    assert [told(decision, by_key.get(decision.key)) for decision in decisions] == case.expected


def test_there_are_enough_cases_and_all_are_read() -> None:
    assert len(CASES) >= 30
    assert {path.suffix for path in CASES} == {".golden"}
    assert sum(bool(read_case(path.read_text(encoding="utf-8")).expected) for path in CASES) == len(CASES) - 1


@pytest.mark.parametrize(
    "line",
    [
        "2026-05-01T12:00:00Z  a  maybe  because",
        "2026-05-01T12:00:00Z  a  keep",
        "2026-05-01T12:00:00Z  a(broken)  keep  because",
        "2026-05-01T12:00:00  a  keep  because",
    ],
)
def test_a_case_that_is_written_wrong_is_not_passed_over(line: str) -> None:
    with pytest.raises(AssertionError):
        read_line(line)


def test_fractions_of_a_second_do_not_order_archives() -> None:
    second = moment("2026-05-01T12:00:00Z")
    pair = [Candidate("a", second.replace(microsecond=900_000)), Candidate("b", second)]
    decisions = decide(pair, Retention(keep_last=1), moment("2026-05-02T12:00:00Z"), ZoneInfo("UTC"))
    assert [(decision.key, decision.keep) for decision in decisions] == [("b", True), ("a", False)]
