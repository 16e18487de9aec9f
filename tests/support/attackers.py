"""A host with a store, as its operator and as an attacker on the store see it.

The operator gives commands of the program. The attacker has what a bucket policy or a file permission gives: adding
objects, overwriting them, reading another store. Nobody has the key that opens archives.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drunner_vault.archive.sidecar import parse_sidecar
from drunner_vault.catalog.identity import IDENTITY_KEY
from drunner_vault.hoststate.archive_log import ArchiveLog, LoggedArchive
from drunner_vault.signing import SigningKey
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import Store, put
from support.catalogs import DAY, add, archive_stamp, head_of, key_of, parse_stamp, read_identity, sealed
from support.s3servers import Server, credentials

HERE = os.uname().nodename
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAILY = 9  # archives of a service: two more than the rules keep
_SETTINGS = """\
[stores.main]
url = "{url}"
{options}
[stores.main.retention]
keep_daily = 7

[stores.second]
url = "{second}"

[jobs.nightly]
services = ["notes"]
store = "main"
max_age = "36h"
"""


@dataclass
class Place:
    """A store, and what an attacker with all rights but deleting does to it. bucket: of an S3 store, else empty."""

    store: Store
    url: str
    server: Server | None = None
    bucket: str = ""

    @property
    def directory(self) -> Path:
        """Where the files of a directory store are."""
        assert isinstance(self.store, LocalStore)
        return self.store.root

    def add(self, key: str, data: bytes, modified: dt.datetime | None = None) -> str:
        """Add an object; refused if there is one. modified: when it appears, in a directory."""
        put(self.store, key, data)
        self._appeared(key, modified)
        return key

    def overwrite(self, key: str, data: bytes) -> None:
        """Replace an object, or add it."""
        if self.server is not None:
            self.server.client().put_object(Bucket=self.bucket, Key=key, Body=data)
        else:
            path, before = self.directory / key, None
            if path.exists():
                before = path.stat()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            if before is not None:
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def read(self, key: str) -> bytes:
        """All of an object."""
        return self.store.read(key, 0, 1 << 30)

    def all_keys(self) -> set[str]:
        """The keys of all objects."""
        return {item.key for item in self.store.list()} - {IDENTITY_KEY}

    def _appeared(self, key: str, modified: dt.datetime | None) -> None:
        if modified is not None and self.server is None:
            os.utime(self.directory / key, (modified.timestamp(), modified.timestamp()))


@dataclass
class Observed:
    """What the operator's commands said. deleted: by `prune --apply`. latest: the archive that `latest` is; empty if it
    was refused. problems: of `health`. copied: by `copy`. texts: all that was printed."""

    deleted: set[str] = field(default_factory=set)
    latest: str = ""
    health: int = 0
    problems: list[str] = field(default_factory=list)
    copied: set[str] = field(default_factory=set)
    standings: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


class Victim:
    """A host called HERE with nightly archives of `notes` in a store, each made DAY after the one before."""

    def __init__(self, directory: Path, place: Place, second: Path, options: str = "") -> None:
        self.directory = directory
        self.place = place
        self.key = SigningKey.generate()
        etc = directory / "etc"
        etc.mkdir()
        (etc / "signing_key").write_bytes(self.key.encode())
        (etc / "signing_key").chmod(0o600)
        (etc / "vault.toml").write_text(_SETTINGS.format(url=place.url, options=options, second=second))
        (directory / "root" / "services" / "notes").mkdir(parents=True)
        second.mkdir(exist_ok=True)
        self.second = LocalStore(second)

    @property
    def latest(self) -> str:
        """The key of last night's archive."""
        return key_of(NOW, "notes", HERE)

    def backup(self, created: dt.datetime, service: str = "notes", data: bytes | None = None) -> str:
        """What a backup of that night leaves in the store and in this host's log; returns the archive's key."""
        key = add(self.place.store, created, service, HERE, data=data, sign=self.key)
        for name in (key, f"{key}.json"):
            self.place._appeared(name, created)
        self.log(key)
        return key

    def log(self, key: str) -> None:
        """Remember an archive as this host's own."""
        head = head_of(self.place.read(key), key)
        entry = LoggedArchive(
            archive=head.archive, host=head.host, workload=head.workload, id=head.id, created=head.created,
            size=head.size, sha256=head.sha256, store=read_identity(self.place.store), address=self.place.url,
            etag=self.place.store.stat(key).etag, complete=True,
        )  # fmt: skip
        ArchiveLog(self.directory / "root" / "vault").add(entry)

    def nights(self, count: int = DAILY) -> list[str]:
        """That many nightly backups, the last one now; returns their keys, the oldest first."""
        return [self.backup(NOW - number * DAY) for number in reversed(range(count))]

    def run(self, *arguments: str | Path, code: int | None = None) -> subprocess.CompletedProcess[str]:
        """Give a command as the operator. code: what it has to exit with."""
        own = {
            "PATH": "/usr/bin:/bin",
            "DRUNNER_CONFIG_DIR": str(self.directory / "etc"),
            "DRUNNER_ROOT": str(self.directory / "root"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            **credentials(),
        }
        command = [sys.executable, "-m", "drunner_vault", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=own, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert "internal error" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def archives(self) -> dict[str, dict[str, Any]]:
        """What `archives` lists, by key."""
        return {item["key"]: item for item in json.loads(self.run("archives", "main", "--json", code=0).stdout)}

    def planned(self, *options: str) -> dict[str, Any]:
        """What `prune` would do."""
        done = self.run("prune", "main", "--json", *options)
        assert done.returncode in (0, 1, 3), done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def doomed(self) -> set[str]:
        """The archives that `prune` would delete."""
        services = self.planned()["services"]
        return {item["key"] for plan in services for item in plan["archives"] if item["action"] == "delete"}

    def chosen(self) -> str:
        """The archive that `latest` is; empty if the program refuses to choose."""
        done = self.run("verify", "--no-key", f"main/{HERE}/notes/latest", "--json")
        if done.returncode:
            return ""
        return str(json.loads(done.stdout.splitlines()[-1])["archive"]).partition(f"{HERE}/notes/")[2]

    def observe(self) -> Observed:
        """Give all commands that decide without a key, deleting ones last."""
        found = Observed()
        found.latest = self.chosen()
        listed = self.run("archives", "main")
        health = self.run("health")
        document = json.loads(self.run("health", "--json").stdout)
        found.health, found.problems = health.returncode, [item["text"] for item in document["problems"]]
        found.standings = {key: item["standing"] for key, item in self.archives().items()}
        copy = self.run("copy", "main", "second", "--json")
        found.copied = {item["archive"].partition(f"/{HERE}/")[2] for item in _last(copy)["copied"]}
        before = self.place.all_keys()
        prune = self.run("prune", "main", "--apply")
        found.deleted = {key for key in before - self.place.all_keys() if archive_stamp(key.rpartition("/")[2])}
        found.texts = {
            "archives": listed.stdout + listed.stderr,
            "health": health.stdout + health.stderr,
            "copy": copy.stdout + copy.stderr,
            "prune": prune.stdout + prune.stderr,
        }
        return found


def _last(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def assert_nothing_gained(victim: Victim, nights: Sequence[str], seen: Observed, *, said: Mapping[str, str]) -> None:
    """The attack has changed nothing that is decided: of nine nights the two oldest go, as without it.

    said: a word that has to stand in what a command printed.
    """
    assert seen.deleted <= set(nights[:-7]), "an archive was deleted that would stay without the attack"
    assert seen.latest == nights[-1].rpartition("/")[2], "`latest` is another archive than without the attack"
    assert (seen.health, seen.problems) == (0, []), seen.texts["health"]
    assert {f"notes/{key.rpartition('/')[2]}" for key in nights} >= seen.copied
    for command, word in said.items():
        assert word in seen.texts[command], seen.texts[command]


def junk(size: int | None = None) -> bytes:
    """Bytes that are no archive, as long as an honest one unless said otherwise."""
    return os.urandom(len(sealed()) if size is None else size)


def later_the_same_day(key: str, minutes: int = 1) -> str:
    """The key of an archive of the same service made a little later."""
    host, service, name = key.split("/")
    created = parse_stamp(archive_stamp(name) or "")
    assert created is not None
    return key_of(created + dt.timedelta(minutes=minutes), service, host)


@contextlib.contextmanager
def undoing(place: Place) -> Iterator[None]:
    """Removes what the block has added."""
    before = place.keys()
    yield
    for key in place.keys() - before:
        place.store.delete(key)


def sidecar_head(place: Place, key: str) -> Any:
    """The head in an archive's sidecar."""
    return parse_sidecar(place.read(f"{key}.json")).head
