"""The guides in docs/: what they say is typed as it stands there, on real parts, and what they say one sees is seen."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import require
from support import s3servers
from support.crons import cron, missing_cron
from support.engines import Host
from support.faraway import faraway, without_images
from support.guides import Block, Machine, Reader, machine, read_guide, unseen
from support.keeper import Key, make_key, processes_with, wait_until
from support.listeners import listening
from support.s3servers import Bucket, Server
from support.services import build_example

BACKUPS, MOVING, GONE = "guide-scheduled-backups.md", "guide-moving-a-service.md", "guide-host-is-gone.md"
TRUST = "guide-trust.md"
NOT_RUN = {BACKUPS: 1, MOVING: 2, GONE: 2, TRUST: 1}  # blocks that say why they cannot be tried here
NOTE = "The spare key is under the third stone"
_OF_THE_LOGIN = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
# What is so on every machine here. Its administrator knows no login of the bucket but that of the guide.
SURROUNDINGS = {name: value for name, value in s3servers.credentials().items() if name not in _OF_THE_LOGIN}


def values(host: Host, server: Server | None = None) -> dict[str, str]:
    """What the guides write as an example, and what that is here."""
    found = {"/etc/drunner": str(host.config_dir), "/root/": f"{host.home}/"}
    if server is not None:
        found |= {
            "KEYOFTHISHOST": s3servers.ACCESS_KEY,
            "its-secret": f'"{s3servers.SECRET_KEY}"',
            "eu-central-1": s3servers.REGION,
            "https://s3.example": server.endpoint,
        }
    return found


def sections(name: str, *wanted: str) -> list[Block]:
    """The blocks of a guide below these headings."""
    blocks = read_guide(name)
    assert set(wanted) <= {block.section for block in blocks}, f"{name} has no such section"
    return [block for block in blocks if block.section in wanted]


@contextmanager
def reading(
    machines: Mapping[str, Machine], here: Mapping[str, str], typed: Mapping[str, str] | None = None
) -> Iterator[Reader]:
    reader = Reader(machines, here, typed or {})
    try:
        yield reader
    finally:
        reader.close()
        print("\n".join(reader.screens))  # a test that fails shows all that was seen


@pytest.fixture
def bucket() -> Iterator[Server]:
    """An S3 server that has the guides' bucket."""
    with s3servers.moto_server() as server:
        server.bucket("backups")
        yield server


def keep_notes(host: Host) -> None:
    host.drunner("install", build_example(host, "notes"), "notes")
    host.run("notes", "add", NOTE)
    host.run("notes", "start")


@pytest.fixture
def oldhost(host: Host, tmp_path: Path) -> Iterator[Machine]:
    """A host on which somebody keeps notes."""
    keep_notes(host)
    with machine("oldhost", host, tmp_path, SURROUNDINGS) as running:
        yield running


@pytest.mark.parametrize("name", [BACKUPS, MOVING, GONE, TRUST])
def test_what_cannot_be_tried_says_why(name: str) -> None:
    unrun = [block.unrun for block in read_guide(name) if block.unrun]
    assert len(unrun) == NOT_RUN[name]


def test_a_line_that_is_not_seen_is_missed() -> None:
    screen = "│ notes │ 2.1 MiB │\nall 2 are well, in 0.8 s\n"
    assert unseen(["notes 17 B", "…2 are well, in 12 s"], screen) == ""
    assert unseen(["all 3 are well"], screen) == "all 3 are well"
    assert unseen(["all 2 are well", "notes"], screen) == "notes"


def _take_away(server: Server) -> dict[str, bytes]:
    """Remove the bucket; returns what it held."""
    client, held = server.client(), Bucket(server, "backups").objects()
    for key in held:
        client.delete_object(Bucket="backups", Key=key)
    client.delete_bucket(Bucket="backups")
    return held


def _give_back(server: Server, held: Mapping[str, bytes]) -> None:
    server.bucket("backups")
    for key, data in held.items():
        server.client().put_object(Bucket="backups", Key=key, Body=data)


def _a_night_later(host: Host) -> None:
    """All that was done was done a day and a half ago."""
    path = host.root / "vault/history.jsonl"
    runs = [json.loads(line) for line in path.read_text().splitlines()]
    for run in runs:
        started = dt.datetime.fromisoformat(run["started"]) - dt.timedelta(hours=36)
        run["started"] = f"{started:%Y-%m-%dT%H:%M:%SZ}"
    path.write_text("".join(f"{json.dumps(run)}\n" for run in runs))


def test_backups_every_night_with_nobody_watching(oldhost: Machine, bucket: Server) -> None:
    require(missing_cron())
    host, alarm = oldhost.host, "If a message comes"
    with listening() as listener:
        here = values(host, bucket) | {
            "mailto://user:password@mail.example?to=ops@example.org": listener.apprise(),
            "https://hc-ping.com/your-uuid": f"{listener.url}/check",
        }

        def nightly() -> None:
            """The night comes, and cron does what it does."""
            before = len(listener.pings())
            _a_night_later(host)
            with cron(oldhost.cron_tables, oldhost.inside):
                wait_until(lambda: len(listener.pings()) >= before + 2)
                wait_until(lambda: not processes_with("--scheduled"))

        with reading({"oldhost": oldhost}, here) as reader:
            setting_up = [block for block in read_guide(BACKUPS) if block.section not in ("8. In the morning", alarm)]
            reader.follow(setting_up)
            settings = host.config_dir / "vault.toml"
            assert 'jitter = "10m"' in settings.read_text()  # which nobody waits for here
            settings.write_text(settings.read_text().replace('jitter = "10m"', ""))
            assert listener.titles() == ["job nightly is done"]
            assert listener.pings() == ["/start", ""]
            assert not (host.config_dir / "recovery-key.txt").exists()
            nightly()
            assert listener.pings() == ["/start", ""] * 2
            assert len(listener.titles()) == 1
            reader.follow(sections(BACKUPS, "8. In the morning"))

            held = _take_away(bucket)
            nightly()
            assert "backup of notes (job nightly) failed" in listener.titles()
            broken, mending = sections(BACKUPS, alarm)
            reader.follow([broken])
            _give_back(bucket, held)
            reader.follow([mending])
            assert listener.titles()[-1].startswith("resolved: ")


def test_trusting_keys_of_other_machines_and_changing_ones_own(
    oldhost: Machine, other_host: Host, bucket: Server, tmp_path: Path
) -> None:
    login = {**s3servers.credentials(), "AWS_ENDPOINT_URL": bucket.endpoint}
    oldhost = replace(oldhost, environment={**SURROUNDINGS, **login})
    key = make_key(tmp_path)
    for _ in range(2):
        oldhost.drunner("backup", "notes", "s3://backups/production", "-r", key.recipient, "--images", "never")
    line = oldhost.drunner("key", "signer").strip()
    signer = json.loads(oldhost.drunner("key", "signer", "--json"))["fingerprint"]
    with machine("central", other_host, tmp_path, {**SURROUNDINGS, **login}) as central:
        here = values(oldhost.host, bucket) | {f"'{SIGNER}'": f"'{line}'", "SHA256:oldfingerprint": signer}
        with reading({"oldhost": oldhost, "central": central}, here) as reader:
            reader.follow([block for block in read_guide(TRUST) if not block.unrun])


MOVED = (
    "1. Can the old host get into the new one?",
    "2. Look first",
    "3. Move",
    "4. See that it lives there",
    "5. Backups of it",
)
BACK, TIDY = "Going back", "6. Tidy up"
SIGNER = 'oldhost namespaces="drunner-vault-archive" ssh-ed25519 AAAA…'


def test_moving_a_service_and_back(oldhost: Machine, other_host: Host, tmp_path: Path) -> None:
    assert {block.section for block in read_guide(MOVING)} == {*MOVED, BACK, TIDY}
    host = oldhost.host
    without_images(other_host, "example/notes")
    with faraway(other_host, tmp_path / "faraway") as there, machine("newhost", other_host, tmp_path, {}) as newhost:
        config = (there.server.directory / "ssh_config").read_text()
        oldhost.ssh_config.write_text(config.replace("Host faraway", "Host newhost"))
        here = values(host) | {f"'{SIGNER}'": f"'{oldhost.drunner('key', 'signer').strip()}'"}
        with reading({"oldhost": oldhost, "newhost": newhost}, here) as reader:
            reader.follow(sections(MOVING, *MOVED))
            assert where_notes_are(host, other_host) == [False, True]
            reader.follow(sections(MOVING, BACK))
            assert where_notes_are(host, other_host) == [True, False]
            host.drunner("uninstall", "notes")  # as if it had moved again
            reader.follow(sections(MOVING, TIDY))
            assert not {name for name in host.volumes() if "notes" in name}


def where_notes_are(*hosts: Host) -> list[bool]:
    return [(host.root / "services/notes").exists() for host in hosts]


DAMAGED = "If an archive is damaged"
FIRST, LAST = ("A fresh machine", "The key"), "See that it lives"
WAYS = {
    "a store": (*FIRST, "You have a store", LAST),
    "a file": (*FIRST, "You have one file", LAST, DAMAGED),
    "no program": ("The key", "Without drunner-vault"),
}
IMAGE = "sha256:0123…"
FILE = "notes-20260131T030000Z.tar.zst.age"


@dataclass(frozen=True)
class Left:
    """What is left of a host that is gone. archive: the name of that of notes. content: its bytes. image: the id of the
    service's."""

    bucket: Server
    key: Key
    signer: str
    archive: str
    content: bytes
    image: str


@pytest.fixture(scope="module")
def left(host_a: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """Two services were backed up to a bucket, and then nobody has seen that host again."""
    directory, host = tmp_path_factory.mktemp("left"), host_a.anew()
    key = make_key(directory)
    with s3servers.moto_server() as server, machine("oldhost", host, directory, SURROUNDINGS) as oldhost:
        bucket = server.bucket("backups")
        keep_notes(host)
        host.drunner("install", build_example(host, "helloworld"), "helloworld")
        login = s3servers.credentials() | {"AWS_ENDPOINT_URL": server.endpoint}
        oldhost.drunner("backup", "--all", "s3://backups/production", "-r", key.recipient, **login)
        signer = oldhost.drunner("key", "signer").strip()
        image = host.docker("inspect", "-f", "{{.Id}}", "example/notes:1").stdout.strip()
        for name in ("notes", "helloworld"):
            host.drunner("obliterate", name)
        (found,) = [item for item in bucket.objects().items() if re.search(r"/notes-[^/]*\.age$", item[0])]
        yield Left(server, key, signer, Path(found[0]).name, found[1], image)


@pytest.mark.parametrize("way", WAYS)
def test_a_host_is_gone(left: Left, other_host: Host, tmp_path: Path, way: str) -> None:
    require(s3servers.missing_parts())  # rclone is what the guide fetches with
    without_images(other_host, "example/notes", "example/helloworld")
    here = values(other_host, left.bucket) | {SIGNER: left.signer, FILE: left.archive, IMAGE: left.image}
    typed = {"cat > key.txt": left.key.identity.read_text().splitlines()[-1] + "\n\x04"}
    file = other_host.home / left.archive
    if way == "a file":
        file.write_bytes(left.content)
    with (
        machine("newhost", other_host, tmp_path, SURROUNDINGS) as newhost,
        reading({"newhost": newhost}, here, typed) as reader,
    ):
        for section in WAYS[way]:
            if section == DAMAGED:
                file.write_bytes(flipped(left.content, len(left.content) // 2))
            reader.follow(sections(GONE, section))


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_every_way_to_get_services_back_is_tried() -> None:
    tried = {section for way in WAYS.values() for section in way}
    assert {block.section for block in read_guide(GONE)} == tried
