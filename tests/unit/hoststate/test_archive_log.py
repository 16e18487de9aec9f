"""The log of the archives that this host has made."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from drunner_vault.errors import StorageError
from drunner_vault.hoststate.archive_log import ArchiveLog, LoggedArchive
from drunner_vault.hoststate.line_file import LineFile

ITEM = LoggedArchive(
    archive="notes-20260131T030000Z.tar.zst.age",
    host="here",
    workload="notes",
    id="0" * 32,
    created="2026-01-31T03:00:00Z",
    size=5000,
    sha256="a" * 64,
    store="5" * 32,
    address="s3://backups",
    etag="abc",
    complete=True,
)
ADD = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_archive_log import ITEM, ArchiveLog
for number in range(50):
    ArchiveLog(Path(sys.argv[1])).add(replace(ITEM, id=f"{sys.argv[2]}-{number}"))
"""


@pytest.fixture
def log(tmp_path: Path) -> ArchiveLog:
    return ArchiveLog(tmp_path / "vault")


def path_of(tmp_path: Path) -> Path:
    return tmp_path / "vault" / "archives.jsonl"


def test_what_was_added_is_read_in_that_order(log: ArchiveLog, tmp_path: Path) -> None:
    assert log.all() == []
    assert not (tmp_path / "vault").exists()
    items = [replace(ITEM, size=number, complete=bool(number)) for number in range(3)]
    for item in items:
        log.add(item)
    assert ArchiveLog(tmp_path / "vault").all() == items
    assert path_of(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "vault").iterdir()] == ["archives.jsonl"]


def test_a_line_that_a_killed_writer_left_spoils_no_other(log: ArchiveLog, tmp_path: Path) -> None:
    log.add(ITEM)
    whole = path_of(tmp_path).read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        path_of(tmp_path).write_bytes(whole + whole[:cut])
        log.add(replace(ITEM, id="next"))
        found = [item.id for item in log.all()]
        assert found in ([ITEM.id, "next"], [ITEM.id, ITEM.id, "next"])  # without its LF a line may be whole


@pytest.mark.parametrize(
    "change",
    [{"size": "5"}, {"size": None}, {"archive": 5}, {"complete": 1}, {"complete": "yes"}, {"etag": None}],
    ids=str,
)
def test_lines_that_are_not_valid_are_left_out(log: ArchiveLog, tmp_path: Path, change: dict[str, object]) -> None:
    log.add(ITEM)
    document = json.loads(path_of(tmp_path).read_bytes())
    lacking = {name: value for name, value in document.items() if name != "sha256"}
    with path_of(tmp_path).open("a") as file:
        for line in ("", "[]", "{", "nonsense", json.dumps(document | change), json.dumps(lacking)):
            file.write(line + "\n")
    assert log.all() == [ITEM]


def test_a_line_of_a_later_version_is_read_as_far_as_it_is_known(log: ArchiveLog, tmp_path: Path) -> None:
    log.add(ITEM)
    document = json.loads(path_of(tmp_path).read_bytes()) | {"later": 1}
    path_of(tmp_path).write_text(json.dumps(document) + "\n")
    assert log.all() == [ITEM]


def test_the_times_of_a_workload_are_those_of_its_complete_archives_once_and_in_order(log: ArchiveLog) -> None:
    for item in (
        replace(ITEM, created="2026-02-02T03:00:00Z"),
        ITEM,
        replace(ITEM, etag=""),
        replace(ITEM, created="2026-02-03T03:00:00Z", store="other"),
        replace(ITEM, created="2026-02-04T03:00:00Z", complete=False),
        replace(ITEM, created="2026-02-05T03:00:00Z", host="there"),
        replace(ITEM, created="2026-02-06T03:00:00Z", workload="wiki"),
        replace(ITEM, created="2026-02-07T03:00:00"),
        replace(ITEM, created="nonsense"),
    ):
        log.add(item)
    days = [dt.datetime(2026, month, day, 3, tzinfo=dt.UTC) for month, day in ((1, 31), (2, 2), (2, 3))]
    assert log.created("here", "notes") == days
    assert log.created("here", "notes", ITEM.store) == days[:2]
    assert log.created("here", "none") == []


def test_only_the_newest_lines_are_kept(tmp_path: Path) -> None:
    lines = LineFile(tmp_path / "vault" / "lines", most=3, least_line=1)
    for number in range(6):
        with lines.locked():
            lines.append([b"%d" % number])
    assert lines.read() == [b"3", b"4", b"5"]


def test_several_writers_at_once_lose_nothing(log: ArchiveLog, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ADD, str(tmp_path / "vault")]
    writers = [subprocess.Popen([*command, str(number), str(Path(__file__).parent)]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert sorted(item.id for item in log.all()) == sorted(f"{one}-{two}" for one in range(3) for two in range(50))


def test_a_log_that_cannot_be_read_or_written_is_an_error_that_names_it(log: ArchiveLog, tmp_path: Path) -> None:
    path_of(tmp_path).mkdir(parents=True)
    for call in (log.all, lambda: log.add(ITEM)):
        with pytest.raises(StorageError, match=r"archives\.jsonl"):
            call()


def test_a_link_in_place_of_the_log_is_not_followed(log: ArchiveLog, tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    path_of(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        log.add(ITEM)
    assert not (tmp_path / "elsewhere").exists()
