"""A store in a directory: what others may do to that directory meanwhile, and what is no object of ours."""

from __future__ import annotations

import datetime as dt
import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drunner_vault import durable
from drunner_vault.errors import AccessDenied, AlreadyExists, NotFound, StorageError, Unavailable, Unsupported
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.store import Store, put, storing

AS_NOBODY = 65534


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "store").mkdir()
    return LocalStore(tmp_path / "store")


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that does not know files without a name."""
    original = os.open

    def refuse(path: object, flags: int, *rest: object, **options: object) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return original(path, flags, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(durable.os, "open", refuse)


@pytest.fixture
def unprivileged() -> Iterator[Callable[[], None]]:
    """Gives up root's rights until the test ends."""

    def give_up() -> None:
        os.setegid(AS_NOBODY)
        os.seteuid(AS_NOBODY)

    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    yield give_up
    os.seteuid(0)
    os.setegid(0)


def keys(store: Store, prefix: str = "") -> set[str]:
    return {item.key for item in store.list(prefix)}


def test_nothing_that_is_there_is_overwritten_whatever_it_is(store: LocalStore) -> None:
    (store.root / "file").write_text("precious")
    (store.root / "directory").mkdir()
    (store.root / "link").symlink_to("nowhere")
    for key in ("file", "directory", "link"):
        with pytest.raises(AlreadyExists):
            store.begin(key)
    with pytest.raises(AlreadyExists), storing(store, "late") as upload:  # noqa: PT012
        upload.write(b"ours")
        (store.root / "late").write_text("theirs")
    assert (store.root / "late").read_text() == "theirs"
    assert (store.root / "file").read_text() == "precious"


def test_objects_are_for_their_owner_only(store: LocalStore) -> None:
    put(store, "host/service/name", b"x")
    assert stat.S_IMODE((store.root / "host/service/name").stat().st_mode) == 0o600
    assert stat.S_IMODE((store.root / "host").stat().st_mode) == 0o700


@pytest.mark.usefixtures("hidden")
def test_a_dead_upload_is_a_leftover_where_files_need_names(store: LocalStore) -> None:
    upload = store.begin("host/service/name.age")
    upload.write(b"12345")
    (leftover,) = store.leftovers()
    assert leftover.key == "host/service/name.age"
    assert leftover.size <= 5  # what has reached the disk so far
    assert abs(leftover.active - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=1)
    assert keys(store) == set()
    assert list(store.leftovers("host/serv")) == []
    store.discard(leftover)
    store.discard(leftover)
    assert list(store.leftovers("host/service")) == []
    upload.abort()


def test_a_directory_that_goes_while_an_upload_is_at_work_is_made_again(store: LocalStore) -> None:
    put(store, "host/service/old", b"x")
    with storing(store, "host/service/new") as upload:
        upload.write(b"new")
        store.delete("host/service/old")
        assert not (store.root / "host").exists()
    assert store.read("host/service/new", 0, 9) == b"new"


@pytest.mark.usefixtures("hidden")
def test_an_upload_whose_file_is_removed_under_it_fails_and_not_as_if_it_were_absent(store: LocalStore) -> None:
    upload = store.begin("host/service/new")
    upload.write(b"new")
    shutil.rmtree(store.root / "host")
    with pytest.raises(StorageError) as told:
        upload.commit()
    assert not isinstance(told.value, NotFound | Unavailable)
    upload.abort()
    assert keys(store) == set()


def test_directories_that_come_and_go_do_not_disturb_uploads(store: LocalStore) -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(150):
                put(store, f"host/service/{name}-{number}", b"x")
                store.delete(f"host/service/{name}-{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(store.root.iterdir()) == []


def test_a_store_that_is_not_there_says_so_and_never_that_an_object_is_absent(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "not-mounted")
    calls: list[Callable[[], object]] = [
        lambda: store.begin("a/b"),
        lambda: store.read("a", 0, 1),
        lambda: store.stat("a"),
        lambda: list(store.list()),
        lambda: list(store.list("a")),
        lambda: list(store.leftovers()),
        lambda: store.delete("a"),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="there is no directory") as told:
            call()
        assert not isinstance(told.value, NotFound)
    assert not (tmp_path / "not-mounted").exists()


def test_a_store_that_goes_while_an_upload_is_at_work_says_so(store: LocalStore) -> None:
    upload = store.begin("a/b")
    store.root.rename(store.root.with_name("unmounted"))
    with pytest.raises(StorageError, match="there is no directory") as told:
        upload.commit()
    assert not isinstance(told.value, NotFound)
    upload.abort()
    assert not store.root.exists()


def test_a_file_in_the_place_of_a_store_or_directory_is_no_store(tmp_path: Path, store: LocalStore) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError):
        list(LocalStore(tmp_path / "file").list())
    put(store, "host", b"x")
    with pytest.raises(StorageError) as told:
        store.begin("host/service/name")
    assert not isinstance(told.value, NotFound | AlreadyExists)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """One that everybody can reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_what_may_not_be_read_or_written_is_denied_and_not_absent(
    public_directory: Path, unprivileged: Callable[[], None]
) -> None:
    root = public_directory / "store"
    (root / "closed").mkdir(parents=True)
    (root / "open").mkdir()
    (root / "open/object").write_text("x")
    (root / "open/object").chmod(0o600)
    (root / "closed/object").write_text("x")
    (root / "closed").chmod(0o700)
    store = LocalStore(root)
    calls: list[Callable[[], object]] = [
        lambda: store.begin("new"),
        lambda: store.begin("open/new"),
        lambda: store.begin("new/new"),
        lambda: store.read("open/object", 0, 1),
        lambda: store.read("closed/object", 0, 1),
        lambda: store.stat("closed/object"),
        lambda: store.delete("open/object"),
        lambda: list(store.list("closed")),
        lambda: list(store.list()),
        lambda: list(LocalStore(root / "closed/store").list()),
    ]
    unprivileged()
    for call in calls:
        with pytest.raises(AccessDenied):
            call()


def test_symbolic_links_to_files_are_objects_and_those_to_directories_are_not_followed(
    store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("there")
    (store.root / "host").mkdir()
    (store.root / "host/to-file").symlink_to(tmp_path / "elsewhere/file")
    (store.root / "host/to-directory").symlink_to(tmp_path / "elsewhere")
    (store.root / "host/to-nothing").symlink_to("nothing")
    (store.root / "host/around").symlink_to(store.root)
    assert keys(store) == {"host/to-file"}
    assert store.read("host/to-file", 0, 9) == b"there"
    store.delete("host/to-file")
    assert (tmp_path / "elsewhere/file").read_text() == "there"


def test_a_store_may_be_reached_by_a_symbolic_link(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.root)
    linked = LocalStore(tmp_path / "link")
    put(linked, "host/a", b"x")
    assert keys(linked) == {"host/a"}
    linked.delete("host/a")
    assert list(store.root.iterdir()) == []
    assert (tmp_path / "link").is_symlink()


def test_what_could_not_be_a_key_is_not_listed(store: LocalStore) -> None:
    put(store, "good", b"x")
    for name in (b".hidden", b"back\\slash", b"new\nline", b"no-utf8-\xff"):
        Path(os.fsdecode(os.fsencode(store.root) + b"/" + name)).write_text("x")
        directory = Path(os.fsdecode(os.fsencode(store.root) + b"/d-" + name))
        directory.mkdir()
        (directory / "file").write_text("x")
    os.mkfifo(store.root / "pipe")
    assert keys(store) == {"good", "d-.hidden/file"}


def test_deleting_what_is_no_object_is_no_error_and_touches_nothing(store: LocalStore) -> None:
    put(store, "host/service/a", b"x")
    for key in ("host", "host/service", "host/b", "nowhere/b", "host/service/a/below"):
        store.delete(key)
    assert keys(store) == {"host/service/a"}


def test_the_last_object_takes_its_directories_along_but_not_the_store(store: LocalStore) -> None:
    put(store, "host/service/a", b"x")
    put(store, "host/b", b"x")
    store.delete("host/service/a")
    assert keys(store) == {"host/b"}
    assert not (store.root / "host/service").exists()
    store.delete("host/b")
    assert store.root.is_dir()


def test_a_directory_locks_nothing(store: LocalStore) -> None:
    put(store, "a", b"x")
    with pytest.raises(Unsupported):
        store.lock("a", dt.datetime.now(dt.UTC))
    with pytest.raises(Unsupported):
        store.begin("b", dt.datetime.now(dt.UTC))


def test_an_upload_that_is_aborted_leaves_no_directory(store: LocalStore) -> None:
    put(store, "host/a", b"x")
    store.begin("host/service/b").abort()
    store.begin("other/service/b").abort()
    assert [path.name for path in store.root.rglob("*")] == ["host", "a"]
