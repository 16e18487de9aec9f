"""Objects on another host are whole and on its disk, or not there, whenever the connection is lost, and also on servers
that can do less."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support import sshservers
from support.sshservers import SshServer, ssh_server

from drunner_vault.errors import AlreadyExists, Interrupted, NotFound, StorageError, Unavailable
from drunner_vault.stores.contract import PROMISES, Promise
from drunner_vault.stores.ssh import protocol, upload
from drunner_vault.stores.ssh.client import Session
from drunner_vault.stores.ssh.connection import Answer, Connection
from drunner_vault.stores.ssh.failures import Refused
from drunner_vault.stores.ssh.protocol import Code, Kind, Request
from drunner_vault.stores.ssh.site import Site
from drunner_vault.stores.ssh.store import SshStore
from drunner_vault.stores.store import put, storing

_DATA = os.urandom(700_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    if sshservers.missing_parts() and os.environ.get("ALLOW_SKIP") == "1":
        pytest.skip(sshservers.missing_parts())
    with ssh_server(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture(scope="module")
def plain_server(server: SshServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """One that knows version 3 and no extensions. (server: so that it is there.)"""
    sftp = f"{sshservers.SFTP_SERVER} -P hardlink,fsync,statvfs,limits"
    with ssh_server(tmp_path_factory.mktemp("plain"), sftp=sftp) as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def store(server: SshServer, root: Path) -> Iterator[SshStore]:
    made = SshStore(server.options(root))
    yield made
    made.close()


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def what(request: Request) -> str:
    """A request's type, or its extension's name."""
    if request.kind == Kind.EXTENDED:
        return protocol.Fields(request.body).text().partition("@")[0]
    return request.kind.name


class Cut:
    """Loses the connection at one request: before it gets there, or after it was done and before its answer is here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.at: int | None = None
        self.done_first = False
        send = Connection.send

        def cutting(connection: Connection, request: Request) -> Answer:
            self.names.append(what(request))
            if self.at is not None and len(self.names) > self.at:
                self.at = None
                if self.done_first:
                    connection.wait(send(connection, request))
                os.kill(connection.pid, signal.SIGKILL)
                while connection.usable:
                    time.sleep(0.005)
            return send(connection, request)

        monkeypatch.setattr(Connection, "send", cutting)

    def arm(self, at: int, *, done_first: bool) -> None:
        """Lose it at request number `at` from now, from 0."""
        self.names.clear()
        self.at, self.done_first = at, done_first

    def disarm(self) -> bool:
        """Whether it was still to come."""
        at, self.at = self.at, None
        return at is not None


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Cut:
    return Cut(monkeypatch)


@pytest.mark.parametrize("done_first", [False, True])
@pytest.mark.parametrize("kind", ["server", "plain_server"])
def test_a_commit_finds_out_what_the_one_before_did(
    kind: str, done_first: bool, cut: Cut, root: Path, request: pytest.FixtureRequest
) -> None:
    store = SshStore(request.getfixturevalue(kind).options(root))
    for at in range(100):
        upload = store.begin(f"d/{at}")
        upload.write(_DATA)
        cut.arm(at, done_first=done_first)
        try:
            upload.commit()
        except Unavailable:
            upload.commit()
        upload.commit()
        over = cut.disarm()
        assert store.read(f"d/{at}", 0, len(_DATA) + 1) == _DATA
        assert files(root) == sorted(map(str, range(at + 1)))
        if over:
            break
    assert at >= 7, "a commit is some requests long, and each was met"
    assert all((root / f"d/{number}").stat().st_mode & 0o777 == 0o600 for number in range(at))
    store.close()


@pytest.mark.parametrize("done_first", [False, True])
def test_a_commit_that_is_done_again_does_not_take_anothers_object_for_its_own(
    done_first: bool, cut: Cut, store: SshStore, root: Path
) -> None:
    for at in range(100):
        upload = store.begin(f"{at}")
        upload.write(_DATA)
        put(store, f"{at}", _DATA[::-1])  # as long
        cut.arm(at, done_first=done_first)
        with pytest.raises((Unavailable, AlreadyExists)):
            upload.commit()
        over = cut.disarm()
        with pytest.raises(AlreadyExists):
            upload.commit()
        upload.abort()
        assert (root / f"{at}").read_bytes() == _DATA[::-1]
        assert files(root) == sorted(map(str, range(at + 1)))
        if over:
            break
    assert at >= 5


@pytest.mark.parametrize("done_first", [False, True])
def test_an_upload_that_is_cut_off_is_not_seen_and_can_be_done_again(
    done_first: bool, cut: Cut, store: SshStore, root: Path
) -> None:
    for at in (0, 1, 5, 12, 30):
        upload = store.begin("d/a")
        cut.arm(at, done_first=done_first)
        with pytest.raises(Unavailable) as caught:
            upload.write(_DATA * 20)
        assert "connection to faraway was lost" in caught.value.message
        with pytest.raises(StorageError, match="not all of"):
            upload.commit()
        assert not list(store.list())
        left = list(store.leftovers())
        assert [(leftover.key, leftover.handle) for leftover in left] == [("d/a", str(root / "d" / files(root)[0]))]
        assert left[0].size <= 20 * len(_DATA)
        upload.abort()
        assert files(root) == []
    put(store, "d/a", _DATA)
    assert store.read("d/a", 0, len(_DATA)) == _DATA


def test_an_upload_that_is_lost_before_it_is_begun_leaves_nothing_or_a_leftover(
    cut: Cut, store: SshStore, root: Path
) -> None:
    for at in range(100):
        cut.arm(at, done_first=True)
        try:
            store.begin("a/b/c").abort()
        except Unavailable:
            assert not list(store.list())
        over = cut.disarm()
        for leftover in list(store.leftovers()):
            assert leftover.key == "a/b/c"
            store.discard(leftover)
        assert files(root) == []
        if over:
            break
    assert at >= 3


def test_what_is_not_on_the_disk_is_kept_and_no_more(
    store: SshStore, cut: Cut, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_SYNC_EVERY", 8 << 20)
    piece = os.urandom(1 << 20)
    one = store.begin("a")
    assert isinstance(one, upload.SshUpload)
    for _ in range(40):
        one.write(piece)
        assert sum(len(data) for _, data in one._kept) < 18 << 20
    assert cut.names.count("fsync") == 4
    assert one._kept[0][0] >= 16 << 20
    os.kill(store._site.session().connection.pid, signal.SIGKILL)
    try:
        one.commit()
    except Unavailable:
        one.commit()
    assert (root / "a").read_bytes() == piece * 40


def test_what_the_server_has_lost_meanwhile_is_noticed(
    store: SshStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "_SYNC_EVERY", 1 << 20)
    one = store.begin("a")
    assert isinstance(one, upload.SshUpload)
    for _ in range(30):
        one.write(_DATA)
    hidden = next(root.iterdir())
    wait_until(lambda: hidden.stat().st_size == one._sent)
    os.truncate(hidden, 100)
    os.kill(store._site.session().connection.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            one.commit()
    assert not isinstance(caught.value, Unavailable)
    one.abort()
    assert files(root) == []


def test_data_reach_the_disk_before_the_name_does_and_the_name_before_the_end(cut: Cut, store: SshStore) -> None:
    put(store, "d/warm", b"")
    cut.names.clear()
    put(store, "d/a", _DATA)
    steps = ["LSTAT", "OPEN", "WRITE", "WRITE", "WRITE", "fsync", "FSTAT", "CLOSE", "hardlink", "REMOVE"]
    assert cut.names == [*steps, "OPEN", "fsync", "CLOSE", "LSTAT"]


def test_files_and_directories_are_for_their_owner_alone(store: SshStore, root: Path) -> None:
    old = os.umask(0)
    try:
        put(store, "d/e/a", b"x")
    finally:
        os.umask(old)
    assert [(root / path).stat().st_mode & 0o777 for path in ("d", "d/e", "d/e/a")] == [0o700, 0o700, 0o600]


def test_directories_go_with_their_last_object_and_come_again(store: SshStore, root: Path) -> None:
    put(store, "d/e/a", b"x")
    waiting = store.begin("d/e/b")
    store.delete("d/e/a")
    waiting.commit()
    store.delete("d/e/b")
    assert list(root.iterdir()) == []


def test_an_upload_whose_file_was_removed_says_so(store: SshStore, root: Path) -> None:
    upload = store.begin("a")
    store.discard(next(store.leftovers()))
    with pytest.raises(StorageError, match="removed before it was whole"):
        upload.commit()
    upload.abort()
    assert files(root) == []


def test_an_upload_whose_file_was_removed_does_not_take_anothers_object_for_its_own(
    store: SshStore, root: Path
) -> None:
    upload = store.begin("a")
    upload.write(b"ours")
    store.discard(next(store.leftovers()))
    (root / "a").write_bytes(b"them")
    with pytest.raises(AlreadyExists):
        upload.commit()
    upload.abort()
    assert (root / "a").read_bytes() == b"them"


def test_two_who_make_and_remove_a_directory_do_not_meet(server: SshServer, root: Path) -> None:
    stores = [SshStore(server.options(root)) for _ in range(2)]

    def work(number: int) -> None:
        for _ in range(20):
            put(stores[number], f"d/e/{number}", b"x")
            stores[number].delete(f"d/e/{number}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    assert list(root.iterdir()) == []
    for store in stores:
        store.close()


def test_a_directory_that_is_removed_before_it_has_a_file_is_made_again(
    store: SshStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Site.make_directories

    def removed_once(site: Site, path: PurePosixPath) -> None:
        make(site, path)
        monkeypatch.setattr(Site, "make_directories", make)
        (root / "d/e").rmdir()
        (root / "d").rmdir()

    monkeypatch.setattr(Site, "make_directories", removed_once)
    put(store, "d/e/a", b"x")
    assert files(root) == ["a"]


def test_a_file_in_the_place_of_a_directory_is_an_error(store: SshStore, root: Path) -> None:
    put(store, "d", b"x")
    with pytest.raises(StorageError) as caught:
        store.begin("d/a")
    assert not isinstance(caught.value, NotFound | Unavailable)
    assert files(root) == ["d"]


def test_a_directory_of_many_files_is_listed_whole(store: SshStore, root: Path) -> None:
    for number in range(350):
        (root / f"file-{number}").write_bytes(bytes(number))
    (root / ".hidden").touch()
    (root / "directory").mkdir()
    (root / "link").symlink_to("file-3")
    (root / "dangling").symlink_to("nowhere")
    (root / "directory" / "up").symlink_to("..")
    os.mkfifo(root / "pipe")
    found = {item.key: item.size for item in store.list()}
    assert found == {f"file-{number}": number for number in range(350)} | {"link": 3}


def test_a_directory_that_vanishes_during_a_listing_is_no_error(
    store: SshStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a/x", b"")
    put(store, "b/y", b"")
    entries = Session.entries

    def vanishing(session: Session, path: str) -> list[protocol.Entry]:
        found = entries(session, path)
        if {entry.name for entry in found} == {"a", "b"}:
            store.delete("a/x")
        return found

    monkeypatch.setattr(Session, "entries", vanishing)
    assert [item.key for item in store.list()] == ["b/y"]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
def test_a_server_without_extensions_keeps_the_promises_too(
    plain_server: SshServer, root: Path, promise: Promise
) -> None:
    said: list[str] = []
    store = SshStore(plain_server.options(root), said.append)
    promise.attempt(store, "base")
    assert len(said) <= 1
    store.close()


def test_a_server_that_cannot_sync_is_told_of_once(plain_server: SshServer, root: Path) -> None:
    said: list[str] = []
    store = SshStore(plain_server.options(root), said.append)
    put(store, "a", b"x")
    put(store, "b", b"x")
    assert len(said) == 1
    assert "faraway cannot be asked" in said[0]
    store.close()


def test_a_login_that_may_add_and_not_remove_stores_all_the_same(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with ssh_server(tmp_path / "sshd", sftp=f"{sshservers.SFTP_SERVER} -P remove,rmdir") as server:
        store = SshStore(server.options(root), said.append)
        put(store, "h/a", _DATA)
        put(store, "h/b", b"x")
        store.begin("h/c").abort()
        assert store.read("h/a", 0, len(_DATA)) == _DATA
        assert [item.key for item in store.list()] == ["h/a", "h/b"]
        with pytest.raises(AlreadyExists):
            put(store, "h/a", b"other")
        store.close()
    assert len(said) == 1
    assert "may not remove files on faraway" in said[0]
    with ssh_server(tmp_path / "other") as server:
        store = SshStore(server.options(root))
        left = list(store.leftovers())
        assert sorted(item.key for item in left) == ["h/a", "h/b", "h/c"]
        for item in left:
            store.discard(item)
        assert files(root) == ["a", "b"]
        store.close()


def test_directories_that_were_made_for_an_upload_go_with_it(store: SshStore, root: Path) -> None:
    store.begin("a/b/c").abort()
    assert list(root.iterdir()) == []
    store.begin("a/b/c")  # and whoever began it dies
    for leftover in list(store.leftovers()):
        store.discard(leftover)
    assert list(root.iterdir()) == []


def test_a_file_system_without_links_takes_objects_too(
    store: SshStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT on a disk over there."""

    def refuse(*_: object) -> None:
        raise Refused(Code.FAILURE, "Failure")

    monkeypatch.setattr(Session, "link", refuse)
    put(store, "a", b"one")
    with pytest.raises(AlreadyExists):
        put(store, "a", b"two")
    late = store.begin("b")
    (root / "b").write_text("theirs")
    with pytest.raises(AlreadyExists):
        late.commit()
    late.abort()
    assert files(root) == ["a", "b"]
    assert (root / "b").read_text() == "theirs"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_upload_leaves_nothing(server: SshServer, root: Path, number: signal.Signals) -> None:
    program = f"""
import os
from drunner_vault.cli.common import stop_on_signals
from drunner_vault.errors import Interrupted
from drunner_vault.stores.ssh.options import ssh_options
from drunner_vault.stores.ssh.store import SshStore
from drunner_vault.stores.store import storing
stop_on_signals()
store = SshStore(ssh_options("faraway", {str(root)!r}, os.environ))
try:
    with storing(store, "a") as upload:
        print("begun", flush=True)
        while True:
            upload.write(bytes(1 << 20))
except Interrupted:
    print("interrupted", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **server.environment()}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    wait_until(lambda: any(path.stat().st_size > 3 << 20 for path in root.iterdir()))
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == "interrupted\n"
    assert list(root.iterdir()) == []
    assert process.returncode == 0


def test_a_signal_while_the_file_is_made_leaves_nothing(
    store: SshStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Session.open

    def interrupted(*arguments: Any) -> None:
        opened(*arguments)
        raise Interrupted("stopped by SIGTERM")

    monkeypatch.setattr(Session, "open", interrupted)
    with pytest.raises(Interrupted):
        store.begin("a")
    assert list(root.iterdir()) == []


def test_an_exception_in_the_block_leaves_nothing(store: SshStore, root: Path) -> None:
    with pytest.raises(ValueError, match="ours"), storing(store, "a") as upload:  # noqa: PT012
        upload.write(_DATA * 20)
        raise ValueError("ours")
    assert list(root.iterdir()) == []


def test_a_store_below_the_home_directory(root: Path, tmp_path: Path) -> None:
    with ssh_server(tmp_path / "sshd", settings=f"ForceCommand internal-sftp -d {tmp_path}") as sftp_only:
        for path in ("root", "."):
            store = SshStore(sftp_only.options(path))
            put(store, "backups/a", b"x")
            assert [item.key for item in store.list("backups")] == ["backups/a"]
            store.delete("backups/a")
            store.close()
    assert list(root.iterdir()) == []


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
