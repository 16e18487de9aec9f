"""From what a person names to the archive that is meant, in a directory and in a store that is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.catalogs import DAY, NOW, Watched, add, key_of, sealed

from drunner_vault.catalog.records import RecordKind, add_record
from drunner_vault.errors import AccessDenied, BadUsage, NotFound, StorageError
from drunner_vault.stores.address import Address
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.sources import ArchiveSource, PipeSource
from drunner_vault.stores.store import Store, StoredObject
from drunner_vault.workflows.archives.finding import find_archive, find_to_restore, is_one_archive
from drunner_vault.workflows.archives.places import Places


class Below:
    """A part of a store in memory, as a store of its own: what an S3 prefix is."""

    can_lock = False

    def __init__(self, inner: Store, prefix: str) -> None:
        self._inner, self._prefix = inner, f"{prefix}/" if prefix else ""
        self.name = f"s3://bucket/{prefix}".rstrip("/")

    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._inner.read(self._prefix + key, offset, length)

    def stat(self, key: str) -> StoredObject:
        return self._inner.stat(self._prefix + key)

    def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
        for item in self._inner.list((self._prefix + prefix).rstrip("/")):
            yield replace(item, key=item.key.removeprefix(self._prefix))


@dataclass
class World:
    """Places in which one store is known. at: how a person names something in it."""

    store: Store
    places: Places
    at: Callable[[str], str]
    notices: list[str] = field(default_factory=list)

    def found(self, text: str) -> str:
        """The key of what is found by a text."""
        return relative(find_archive(self.places, self.at(text)))

    def restored(self, text: str, service: str | None = None) -> tuple[str, str | None]:
        source, name = find_to_restore(self.places, self.at(text), service)
        return relative(source), name


def relative(source: ArchiveSource) -> str:
    return "/".join(source.name.rsplit("/", 3)[1:])


def make_world(kind: str, root: Path) -> World:
    notices: list[str] = []
    if kind in ("path", "url"):
        local = LocalStore(root)
        places = Places({}, lambda address: LocalStore(Path(address.path)), lambda: NOW, notices.append)
        start = str(root) if kind == "path" else f"file://{root}"
        return World(local, places, lambda text: f"{start}/{text}".rstrip("/"), notices)
    memory = Watched()
    named = {"offsite": Address("s3", "bucket", "")}
    places = Places(named, lambda address: Below(memory, address.path), lambda: NOW, notices.append)  # type: ignore[arg-type, return-value]
    start = "s3://bucket" if kind == "s3" else "offsite"
    return World(memory, places, lambda text: f"{start}/{text}".rstrip("/"), notices)


@pytest.fixture(params=["path", "url", "s3", "named"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> World:
    (tmp_path / "root").mkdir()
    return make_world(request.param, tmp_path / "root")


def test_an_archive_is_found_by_its_own_name(world: World) -> None:
    key = add(world.store, NOW)
    assert world.found(key) == key
    assert world.restored(key) == (key, None)
    assert world.restored(key, "clone") == (key, "clone")
    assert is_one_archive(world.places, world.at(key))


def test_the_newest_below_a_place_is_found(world: World) -> None:
    for days in (2, 1, 3):
        add(world.store, NOW - days * DAY)
    for place in ("latest", "there/latest", "there/notes/latest"):
        assert world.found(place) == key_of(NOW - DAY)
        assert world.restored(place) == (key_of(NOW - DAY), None)
        assert is_one_archive(world.places, world.at(place))


def test_the_newest_of_a_service_is_found_among_others(world: World) -> None:
    add(world.store, NOW - DAY)
    add(world.store, NOW, "wiki")
    for place in ("", "there", "latest", "there/latest"):
        assert world.restored(place, "notes") == (key_of(NOW - DAY), "notes")
        assert world.restored(place, "wiki") == (key_of(NOW, "wiki"), "wiki")


def test_the_newest_of_the_only_service_can_be_called_otherwise(world: World) -> None:
    add(world.store, NOW)
    assert world.restored("there/notes/latest", "clone") == (key_of(NOW), "clone")
    add(world.store, NOW, "wiki")
    with pytest.raises(BadUsage, match=r"several services .*: notes of there, wiki of there"):
        world.restored("latest", "clone")


def test_without_latest_a_service_that_is_not_there_is_refused(world: World) -> None:
    add(world.store, NOW)
    with pytest.raises(NotFound, match="no archive of clone") as told:
        world.restored("", "clone")
    assert "notes of there" in told.value.hint


def test_a_place_alone_does_not_say_which_archive(world: World) -> None:
    add(world.store, NOW)
    add(world.store, NOW, "wiki")
    assert not is_one_archive(world.places, world.at("there"))
    with pytest.raises(BadUsage, match="is a place for archives"):
        world.found("there")
    with pytest.raises(BadUsage, match="holds archives of: notes of there, wiki of there"):
        world.restored("there")


def test_several_services_or_hosts_are_an_error_that_names_them(world: World) -> None:
    add(world.store, NOW, host="a")
    add(world.store, NOW, host="b")
    with pytest.raises(BadUsage, match=r"several hosts have a service notes .*: a, b") as told:
        world.restored("", "notes")
    assert "/b/notes/latest" in told.value.hint
    with pytest.raises(BadUsage, match="several hosts"):
        world.found("latest")
    add(world.store, NOW, "wiki", "b")
    with pytest.raises(BadUsage, match=r"several services .*: notes of a, notes of b, wiki of b"):
        world.found("latest")
    assert world.restored("b", "wiki")[0] == key_of(NOW, "wiki", "b")


def test_an_empty_place_is_said_to_be_empty(world: World) -> None:
    with pytest.raises(NotFound, match="no archive in"):
        world.found("latest")
    with pytest.raises(NotFound, match="no archive of notes") as told:
        world.restored("", "notes")
    assert "no archive at all" in told.value.hint


def test_an_archive_that_is_not_there_is_said_not_to_be(world: World) -> None:
    key = add(world.store, NOW)
    with pytest.raises(NotFound), find_archive(world.places, world.at(key.replace("2026", "2025"))).sequential():
        pass


def test_the_newest_passes_over_what_is_not_complete_and_says_so(world: World) -> None:
    well = add(world.store, NOW - 4 * DAY)
    cut = add(world.store, NOW - 2 * DAY, sidecar=False, data=sealed()[:-1])
    damaged = add(world.store, NOW - DAY)
    add_record(world.store, damaged, RecordKind.DAMAGED, NOW, {})
    ahead = add(world.store, NOW + 50 * DAY)
    assert world.found("latest") == well
    said = "\n".join(world.notices)
    assert len(world.notices) == 3
    for key, why in ((cut, "cut short"), (damaged, "found damaged"), (ahead, "in the future")):
        line = next(line for line in world.notices if key.rpartition("/")[2] in line)
        assert why in line, said


def test_where_nothing_is_complete_that_is_said(world: World) -> None:
    add(world.store, NOW, sidecar=False, data=sealed()[:-1])
    with pytest.raises(StorageError, match=r"none of the archives .* is complete: .*cut short") as told:
        world.restored("", "notes")
    assert not isinstance(told.value, NotFound)


def test_other_services_sidecars_are_not_read_to_restore_one() -> None:
    world = make_world("s3", Path())
    assert isinstance(world.store, Watched)
    add(world.store, NOW)
    add(world.store, NOW, "wiki")
    world.restored("", "notes")
    assert not [key for key in world.store.reads if "wiki" in key]


def test_a_place_may_be_used_above_which_nothing_is_allowed() -> None:
    world = make_world("s3", Path())
    add(world.store, NOW)

    class Fenced(Below):
        def stat(self, key: str) -> StoredObject:
            if self.name == "s3://bucket":
                raise AccessDenied("not up here")
            return super().stat(key)

    fenced = Places({}, lambda address: Fenced(world.store, address.path), lambda: NOW, print)  # type: ignore[arg-type, return-value]
    source, _ = find_to_restore(fenced, "s3://bucket/there", "notes")
    assert source.name.endswith(key_of(NOW).removeprefix("there/"))
    with pytest.raises(AccessDenied):
        find_to_restore(fenced, f"s3://bucket/{key_of(NOW).rpartition('/')[2]}", None)


@pytest.mark.parametrize("name", [".backups", "back\\ups", "latest.d"])
def test_a_store_may_be_in_a_directory_that_could_not_be_an_object(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    add(LocalStore(tmp_path / name), NOW)
    for kind in ("path", "url"):
        world = make_world(kind, tmp_path / name)
        assert world.restored("", "notes")[0] == key_of(NOW)


def test_a_plain_file_of_any_name_is_an_archive(tmp_path: Path) -> None:
    world = make_world("path", tmp_path)
    (tmp_path / "n.backup").write_bytes(sealed())
    (tmp_path / "latest").write_bytes(sealed())
    for name in ("n.backup", "latest", "not-there"):
        assert is_one_archive(world.places, str(tmp_path / name))
        assert find_to_restore(world.places, str(tmp_path / name), "x")[0].name == str(tmp_path / name)


def test_a_dash_is_standard_input() -> None:
    places = make_world("path", Path()).places
    assert isinstance(find_archive(places, "-"), PipeSource)
    source, name = find_to_restore(places, "-", "notes")
    assert isinstance(source, PipeSource)
    assert name == "notes"
