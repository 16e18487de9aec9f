"""vault.toml: what it may say, and errors that name its line."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from drunner_vault import wiring
from drunner_vault.config import Settings, read_settings
from drunner_vault.errors import BadUsage
from drunner_vault.policy import Retention, Span
from drunner_vault.wiring.stores import places

Write = Callable[[str], Path]

WHOLE = """
recipients = ["age1x"]   # mine
timezone = "Europe/Berlin"

[stores.offsite]  # in another town
url = "s3://bucket/prefix?region=a"
endpoint = "https://s3.example.com"
path_style = true
in_flight = 4

[stores.offsite.retention]
keep_daily = 7
keep_within = "30d"

[stores.disk]
url = "/mnt/disk with space"
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "vault.toml"
        path.write_text(text)
        return path

    return to_file


def environment(path: Path) -> dict[str, str]:
    return {"DRUNNER_CONFIG_DIR": str(path.parent)}


def use(path: Path) -> None:
    """All that commands make of the settings."""
    known = read_settings(path)
    places(environment(path), print)
    for name in known.stores:
        wiring.retention(environment(path), name, {})
    wiring.timezone(environment(path))


def test_without_a_file_there_are_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "vault.toml") == Settings()


def test_everything_that_can_be_set_is_read(write: Write) -> None:
    path = write(WHOLE)
    known = read_settings(path)
    assert (known.recipients, known.timezone) == (("age1x",), "Europe/Berlin")
    assert known.stores["offsite"].options == {
        "endpoint": "https://s3.example.com",
        "path_style": "true",
        "in_flight": "4",
    }
    assert wiring.retention(environment(path), "offsite", {}) == Retention(keep_daily=7, keep_within=Span(days=30))
    assert not wiring.retention(environment(path), "disk", {}).is_set
    assert str(wiring.timezone(environment(path))) == "Europe/Berlin"
    address = places(environment(path), print).address("offsite/host")
    assert (address.path, address.options["region"], address.options["in_flight"]) == ("prefix/host", "a", "4")
    assert places(environment(path), print).address("disk").path == "/mnt/disk with space"


def test_what_is_given_on_the_command_line_takes_the_place_of_all_rules(write: Write) -> None:
    path = write(WHOLE)
    assert wiring.retention(environment(path), "offsite", {"keep_last": 1}) == Retention(keep_last=1)


@pytest.mark.parametrize(
    ("text", "line", "problem", "hint"),
    [
        ("a = 1\nrecipient = []", 1, "unknown setting a", "known are"),
        ("\nrecipient = []", 2, "unknown setting recipient", "did you mean recipients?"),
        ("timezone = 'UTC'\nrecipients = 'age1'", 2, "recipients must be a list", ""),
        ("recipients = [1]", 1, "recipients must be a list", ""),
        ("timezone = 1", 1, "timezone must be a text", ""),
        ("\n\ntimezone = 'Mars/Base'", 3, "no time zone Mars/Base", "Europe/Berlin"),
        ("timezone = '../../etc/passwd'", 1, "no time zone", "Europe/Berlin"),
        ("timezone = 'Europe'", 1, "no time zone Europe", "Europe/Berlin"),
        ("stores = 1", 1, "stores must be a table", "[stores]"),
        ("[stores]\nx = 1", 2, "x must be a table", "[stores.x]"),
        ("\n[stores.x] # here\nregion = 'a'", 2, "url is missing", "url ="),
        ("[stores.x]\nurl = 1", 2, "url must be a text", ""),
        ("\n[stores.Big]\nurl = '/x'", 2, "Big cannot be the name of a store", "small letters"),
        ("\n[stores.'a b']\nurl = '/x'", 2, "a b cannot be the name of a store", "small letters"),
        ("[stores.x]\nurl = 's3://b'\nregion = ['a']", 3, "region must be a text", ""),
        ("\n[stores.x]\nurl = 's3://bucket'\nregoin = 'a'", 4, "unknown option regoin", "did you mean region?"),
        ("\n[stores.x]\nurl = '/x'\nregion = 'a'", 4, "unknown option region", "none"),
        ("\n[stores.x]\nurl = 's3:/bucket'", 3, "s3:/bucket is no store's URL", "s3://bucket"),
        ("\n[stores.x]\nurl = 'backups'", 3, "backups is no store's URL", "file:///"),
        ("\n[stores.x]\nurl = 's3://bucket?regoin=a'", 3, "unknown option regoin", "did you mean region?"),
        ("[stores.x]\nurl = '/x'\nretention = 7", 3, "retention must be a table", "[stores.x.retention]"),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_daily = true", 4, "keep_daily must be a number", ""),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_daily = 1.5", 4, "keep_daily must be a number", ""),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_dayly = 7", 4, "unknown rule keep_dayly", "keep_daily?"),
        (
            "[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_daily = '7'",
            4,
            "keep_daily cannot be '7'",
            "keep_daily = 7",
        ),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_within = 7", 4, "keep_within cannot be 7", '"30d"'),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_within = ''", 4, "'' is not a duration", "30d"),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_within = '30x'", 4, "'30x' is not a duration", "30d"),
        ("[stores.x]\nurl = '/x'\n[stores.x.retention]\nkeep_last = -2", 4, "keep_last cannot be -2", "unlimited"),
        ("\nx = = 1", 2, "cannot read the settings", "TOML"),
    ],
)
def test_what_makes_no_sense_is_named_with_file_and_line(
    text: str, line: int, problem: str, hint: str, write: Write
) -> None:
    path = write(text)
    with pytest.raises(BadUsage) as told:
        use(path)
    assert str(path) in told.value.message
    assert f"line {line}" in told.value.message
    assert problem in told.value.message
    assert hint in told.value.hint


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vault.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadUsage, match="cannot read the settings"):
        read_settings(tmp_path / "vault.toml")


@pytest.mark.parametrize(
    ("zone", "hours"), [("Asia/Tokyo", 9), (":Asia/Tokyo", 9), (":/usr/share/zoneinfo/Asia/Tokyo", 9), ("UTC", 0)]
)
def test_the_time_zone_of_the_environment_counts_where_the_settings_say_nothing(
    zone: str, hours: int, tmp_path: Path
) -> None:
    found = wiring.timezone({"DRUNNER_CONFIG_DIR": str(tmp_path), "TZ": zone})
    assert dt.datetime(2026, 1, 1, tzinfo=found).utcoffset() == dt.timedelta(hours=hours)


@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3", "/nowhere/at/all"])
def test_a_time_zone_of_the_environment_that_is_not_known_is_said(zone: str, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="TZ in the environment"):
        wiring.timezone({"DRUNNER_CONFIG_DIR": str(tmp_path), "TZ": zone})
