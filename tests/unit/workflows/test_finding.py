"""From what an operator names to the archive that is meant, in a directory and in other stores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    NOW,
    Watched,
    add,
    add_record,
    identify,
    key_of,
    sealed,
    sidecar_of,
    sidecar_v1,
    signers,
    trusting,
)

from drunner_vault.catalog.catalog import CatalogReader
from drunner_vault.catalog.identity import IDENTITY_KEY
from drunner_vault.catalog.records import RecordKind
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.errors import AccessDenied, BadUsage, NotFound, StorageError
from drunner_vault.signing import SigningKey
from drunner_vault.stores.address import Address
from drunner_vault.stores.local import LocalStore
from drunner_vault.stores.sources import ArchiveSource, PipeSource
from drunner_vault.stores.store import Store, StoredObject, put
from drunner_vault.workflows.archives.finding import find_archive, find_to_restore, is_one_archive
from drunner_vault.workflows.archives.places import Places

STRANGER, SECOND = SigningKey.generate(), SigningKey.generate()


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
    """Places in which one store is known. at: how an operator names something in it. trust: whose signatures count."""

    store: Store
    places: Places
    at: Callable[[str], str]
    notices: list[str] = field(default_factory=list)
    trust: list[HostSigners] = field(default_factory=list)

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
    trust = [signers(trusting((HOST_KEY, HOST), (HOST_KEY, "a"), (HOST_KEY, "b")))]

    def reader() -> CatalogReader:
        return CatalogReader(trust[-1], NOW)

    if kind in ("path", "url"):
        local = LocalStore(root)
        places = Places({}, lambda address: LocalStore(Path(address.path)), lambda: NOW, notices.append, reader)
        start = str(root) if kind == "path" else f"file://{root}"
        return World(local, places, lambda text: f"{start}/{text}".rstrip("/"), notices, trust)
    memory = Watched()
    named = {"offsite": Address("s3", "bucket", "")}
    places = Places(named, lambda address: Below(memory, address.path), lambda: NOW, notices.append, reader)  # type: ignore[arg-type, return-value]
    start = "s3://bucket" if kind == "s3" else "offsite"
    return World(memory, places, lambda text: f"{start}/{text}".rstrip("/"), notices, trust)


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


def test_the_newest_intact_one_is_found_and_newer_ones_are_announced(world: World) -> None:
    good = add(world.store, NOW - 6 * DAY)
    unsigned = add(world.store, NOW - 5 * DAY, sidecar=False)
    strange = add(world.store, NOW - 4 * DAY, sign=STRANGER)
    stated = add(world.store, NOW - 3 * DAY, sidecar=False)
    put(world.store, stated + ".json", sidecar_of(sealed(), stated, store="6" * 32))
    damaged = add(world.store, NOW - DAY)
    add_record(world.store, damaged, RecordKind.DAMAGED, NOW)
    ahead = add(world.store, NOW + 50 * DAY)
    assert world.found("latest") == good
    said = "\n".join(world.notices)
    assert len(world.notices) == 5
    for key, why in (
        (unsigned, "it has no sidecar"),
        (strange, "whose key does not count for there"),
        (stated, "it was signed for another store"),
        (damaged, "found damaged"),
        (ahead, "in the future"),
    ):
        line = next(line for line in world.notices if line.startswith(key.rpartition("/")[2]))
        assert "is newer, and ignored: " in line
        assert why in line, said


def test_many_newer_archives_are_announced_in_few_lines(world: World) -> None:
    good = add(world.store, NOW - DAY)
    for number in range(12):
        add(world.store, NOW - number * HOUR, sidecar=False)
    assert world.found("latest") == good
    assert len(world.notices) == 9
    assert world.notices[-1] == "4 further newer archives are ignored"


def test_without_a_proven_archive_the_newest_stated_one_is_found(world: World) -> None:
    for days in (1, 2):
        key = add(world.store, NOW - days * DAY, sidecar=False)
        put(world.store, key + ".json", sidecar_of(sealed(), key, store="6" * 32))
    add(world.store, NOW, sidecar=False)
    assert world.found("latest") == key_of(NOW - DAY)


def test_where_nothing_is_intact_that_is_reported(world: World) -> None:
    key = add(world.store, NOW)
    add_record(world.store, key, RecordKind.DAMAGED, NOW)
    with pytest.raises(StorageError, match=r"none of the archives .* is complete: .*found damaged") as told:
        world.restored("", "notes")
    assert not isinstance(told.value, NotFound)


# Whose archives are meant


def test_an_own_archive_is_found_among_those_of_other_accepted_keys(world: World) -> None:
    own = add(world.store, NOW - DAY, sign=SECOND)
    add(world.store, NOW)
    world.trust.append(signers(trusting((HOST_KEY, HOST)), SECOND, HOST))
    assert world.found("latest") == own


def test_where_two_accepted_keys_have_signed_it_is_not_clear_which_is_the_newest(world: World) -> None:
    one, two = add(world.store, NOW - DAY, sign=SECOND), add(world.store, NOW)
    world.trust.append(signers(trusting((HOST_KEY, HOST), (SECOND, HOST))))
    with pytest.raises(BadUsage, match="2 accepted keys have signed archives of there/notes") as told:
        world.found("latest")
    for key, signer in ((one, SECOND), (two, HOST_KEY)):
        assert f"{key} by {signer.public().fingerprint}" in told.value.message
    assert "recovery kit" in told.value.hint
    assert told.value.hint.endswith(f"/{two}")
    assert world.found(one) == one, "a name needs no choice"


def test_of_a_host_of_which_no_key_is_known_the_only_signers_newest_is_found(world: World) -> None:
    world.trust.append(signers([]))
    add(world.store, NOW - DAY)
    newest = add(world.store, NOW)
    assert world.found("latest") == newest
    assert world.notices == [
        f"{newest.rpartition('/')[2]} is signed by {HOST_KEY.public().fingerprint}, who is not trusted on this host"
    ]
    junk = add(world.store, NOW + HOUR, sidecar=False)
    with pytest.raises(BadUsage, match="no accepted key has signed an archive of there/notes") as told:
        world.found("latest")
    assert f"{junk} by nobody, {newest} by {HOST_KEY.public().fingerprint}" in told.value.message


def test_of_a_host_whose_key_is_known_nothing_else_is_found(world: World) -> None:
    add(world.store, NOW, sign=STRANGER)
    with pytest.raises(BadUsage, match="no accepted key has signed"):
        world.found("latest")


@pytest.mark.parametrize("sidecar", [True, False])
def test_a_directory_that_is_not_a_store_and_holds_nothing_signed_is_chosen_from_by_name(
    sidecar: bool, world: World
) -> None:
    for moment in (NOW, NOW - DAY):
        key = key_of(moment)
        put(world.store, key, sealed())
        if sidecar:
            put(world.store, key + ".json", sidecar_v1(sealed(), key))
    assert world.found("latest") == key_of(NOW)
    name = key_of(NOW).rpartition("/")[2]
    assert world.notices == [f"{name} was chosen by its name: nothing in its directory is signed"]
    identify(world.store)
    with pytest.raises(BadUsage, match="no accepted key has signed"):
        world.found("latest")


def test_archives_that_nobody_accepted_has_signed_do_not_make_a_choice_ambiguous(world: World) -> None:
    key = add(world.store, NOW)
    add(world.store, NOW, "wiki", sign=STRANGER)
    add(world.store, NOW, host="other", sign=STRANGER)
    put(world.store, f"zz/{key}", sealed())
    for place in ("latest", "there/latest"):
        assert world.found(place) == key
    assert world.restored("", "notes")[0] == key


def test_other_services_sidecars_are_not_read_to_restore_one() -> None:
    world = make_world("s3", Path())
    assert isinstance(world.store, Watched)
    add(world.store, NOW)
    add(world.store, NOW, "wiki")
    world.store.reads.clear()
    world.restored("", "notes")
    assert not [key for key in world.store.reads if "wiki" in key]


def fenced(world: World, *readable: str) -> Places:
    """Places for a login that may use nothing above `there` but these keys."""

    class Fenced(Below):
        def _check(self, key: str) -> None:
            if self.name == "s3://bucket" and key not in readable:
                raise AccessDenied("not up here")

        def read(self, key: str, offset: int, length: int) -> bytes:
            self._check(key)
            return super().read(key, offset, length)

        def stat(self, key: str) -> StoredObject:
            self._check(key)
            return super().stat(key)

        def list(self, prefix: str = ""):  # type: ignore[no-untyped-def]
            if not prefix.startswith("there"):
                self._check(prefix)
            return super().list(prefix)

    return replace(world.places, open=lambda address: Fenced(world.store, address.path))  # type: ignore[arg-type, return-value]


def test_a_place_may_be_used_above_which_little_is_allowed() -> None:
    world = make_world("s3", Path())
    keys = [key_of(NOW), key_of(NOW) + ".json"]
    add(world.store, NOW)
    places = fenced(world, IDENTITY_KEY, *keys)
    source, _ = find_to_restore(places, "s3://bucket/there", "notes")
    assert source.name == f"s3://bucket/{key_of(NOW)}"
    with pytest.raises(AccessDenied):
        find_to_restore(fenced(world), f"s3://bucket/{key_of(NOW).rpartition('/')[2]}", None)


def test_where_the_root_of_the_store_cannot_be_seen_an_archive_has_to_be_named() -> None:
    world = make_world("s3", Path())
    key = add(world.store, NOW)
    places = fenced(world)
    with pytest.raises(BadUsage, match="no accepted key has signed") as told:
        find_to_restore(places, "s3://bucket/there", "notes")
    assert told.value.hint.endswith(f"s3://bucket/{key}")
    assert find_archive(places, f"s3://bucket/{key}").name == f"s3://bucket/{key}"


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
