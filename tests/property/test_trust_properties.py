"""Whatever is added to a store without an accepted key: it deletes nothing, and nothing else is chosen for it."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    NOW,
    Hands,
    NoLocks,
    add,
    add_record,
    head_of,
    identify,
    key_of,
    keys,
    root_of,
    sidecar_of,
    sidecar_v1,
    signers,
    trusting,
)

from drunner_vault.archive.statements import make_statement
from drunner_vault.catalog.catalog import Catalog, CatalogReader
from drunner_vault.catalog.evidence import MOST_READ
from drunner_vault.catalog.grouping import Directory, signed_key
from drunner_vault.catalog.records import RecordKind, RecordName, parse_record_name, record_key
from drunner_vault.catalog.selection import select_newest
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.errors import AlreadyExists, BadUsage, StorageError
from drunner_vault.policy import Retention, Span
from drunner_vault.signing import SigningKey, parse_allowed_signer, retired_line
from drunner_vault.stores.store import Store, put
from drunner_vault.workflows.archives.prune import PrunePlan, plan_prune

OTHER_HOST, OTHER_STORE = "other", "6" * 32
SECOND, NEW, STRANGER = (SigningKey.generate() for _ in range(3))
MINUTE = dt.timedelta(minutes=1)
RETIRED = NOW - HOUR
SMALL, LARGE = b"s" * 500, b"l" * 60_000  # different enough to be suspicious
UNHURRIED = settings(
    deadline=None,
    max_examples=100,
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # shrinking takes minutes; what was tried is readable as it is
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


# Who looks at the store, and who has archives in it


@dataclass(frozen=True)
class Scene:
    """by: whose signatures count. series: of each, host, service and signer. stolen: a retired key that is known to the
    attacker."""

    by: HostSigners
    series: Sequence[tuple[str, str, SigningKey]]
    stolen: SigningKey | None = None


RETIRED_HOST_KEY = parse_allowed_signer(retired_line(HOST_KEY.public().allowed_line(HOST), RETIRED))
SCENES: dict[str, Scene] = {
    "the host itself": Scene(
        signers(trusting((SECOND, OTHER_HOST)), HOST_KEY, HOST),
        [(HOST, "notes", HOST_KEY), (OTHER_HOST, "notes", SECOND)],
    ),
    "another machine": Scene(
        signers(trusting((HOST_KEY, HOST), (SECOND, OTHER_HOST), (NEW, "*"))),
        [(HOST, "notes", HOST_KEY), (OTHER_HOST, "notes", SECOND)],
    ),
    "another machine, and a host with two keys": Scene(
        signers(trusting((HOST_KEY, HOST), (SECOND, HOST))), [(HOST, "notes", HOST_KEY), (HOST, "notes", SECOND)]
    ),
    "the host, of which there is a clone": Scene(
        signers(trusting((SECOND, HOST)), HOST_KEY, HOST), [(HOST, "notes", HOST_KEY), (HOST, "notes", SECOND)]
    ),
    "a rebuilt host, whose new key has signed in another store only": Scene(
        signers(trusting((HOST_KEY, HOST)), NEW, HOST), [(HOST, "notes", HOST_KEY), (HOST, "wiki", HOST_KEY)]
    ),
    "another machine that accepts a further key of the host": Scene(
        signers(trusting((HOST_KEY, HOST), (NEW, HOST))), [(HOST, "notes", HOST_KEY), (HOST, "wiki", HOST_KEY)]
    ),
    "after the key was rotated, and the old one stolen": Scene(
        signers([RETIRED_HOST_KEY, *trusting((SECOND, HOST))]),
        [(HOST, "notes", HOST_KEY), (HOST, "notes", SECOND)],
        HOST_KEY,
    ),
}


@dataclass(frozen=True)
class Made:
    """An archive that was made honestly.

    days: ago. large: size. history: only the history knows it. damaged, suspect, accepted: by an accepted record.
    """

    days: int
    large: bool
    history: bool
    damaged: bool
    suspect: bool
    accepted: bool


RARELY = st.sampled_from([False, False, False, True])
MADE = st.builds(Made, st.integers(0, 14), RARELY, RARELY, RARELY, RARELY, RARELY)
SERIES = st.lists(MADE, min_size=1, max_size=7, unique_by=lambda made: made.days)
BASES = st.tuples(SERIES, SERIES)
RETENTIONS = st.sampled_from(
    [
        Retention(keep_last=1),
        Retention(keep_last=3),
        Retention(keep_daily=2),
        Retention(keep_weekly=2),
        Retention(keep_daily=2, keep_weekly=2),
        Retention(keep_within=Span(days=3)),
    ]
)


@dataclass(frozen=True)
class Genuine:
    """An archive with a sidecar by an accepted key, from this store or another, that the attacker has a copy of."""

    key: str
    data: bytes
    sidecar: bytes
    records: Sequence[tuple[RecordName, bytes]] = ()


DECISIVE = (RecordKind.DAMAGED, RecordKind.SUSPECT, RecordKind.ACCEPTED, RecordKind.VERIFIED)


@dataclass
class World:
    """A store in memory, and what an attacker knows. base: the keys of the archives in it. hidden: those that were
    overwritten."""

    scene: Scene
    store: NoLocks
    base: list[str]
    genuine: list[Genuine]
    hidden: set[str] = field(default_factory=set)


def build(scene: Scene, base: tuple[list[Made], list[Made]], *, etags: bool = True) -> World:
    hands = Hands()
    store = NoLocks(hands.clock, etags=etags)
    identify(store)
    made, genuine = [], []
    for number, ((host, service, signer), archives) in enumerate(zip(scene.series, base, strict=True)):
        for item in archives:
            created = NOW - item.days * DAY - (2 + number) * HOUR
            hands.moment = created + MINUTE
            data = LARGE if item.large else SMALL
            key = add(
                store,
                created,
                service,
                host,
                data=data,
                sign=signer,
                head=lambda head, item=item: replace(head, basis="history" if item.history else "written"),  # type: ignore[misc]
            )
            for kind in (RecordKind.DAMAGED, RecordKind.SUSPECT, RecordKind.ACCEPTED):
                if getattr(item, kind.value):
                    add_record(store, key, kind, created + MINUTE, sign=signer)
            made.append(key)
            genuine += [taken(store, key), in_another_store(host, service, signer, created, data)]
        for days in (0, 3):
            created = NOW - days * DAY - 5 * HOUR
            genuine.append(in_another_store(host, service, signer, created, SMALL))
            if etags:  # without them, whoever may write can also put back what was deleted
                genuine.append(deleted_since(store, host, service, signer, created))
    genuine += [in_another_store(HOST, "notes", NEW, NOW - days * DAY, SMALL) for days in (0, 5)]
    hands.moment = NOW
    return World(scene, store, made, genuine)


def taken(store: Store, key: str) -> Genuine:
    """A copy of an archive in the store, with its records."""
    found = [item.key for item in store.list(key.rpartition("/")[0]) if item.key.startswith(key)]
    records = [
        (name, store.read(found_key, 0, 1 << 20)) for found_key in found if (name := parse_record_name(found_key))
    ]
    return Genuine(key, store.read(key, 0, 1 << 20), store.read(key + ".json", 0, 1 << 20), records)


@cache
def in_another_store(host: str, service: str, signer: SigningKey, created: dt.datetime, data: bytes) -> Genuine:
    """The archive as it is in another store, with decisive records."""
    store = NoLocks()
    identify(store, OTHER_STORE)
    return with_records(store, add(store, created, service, host, data=data, sign=signer), signer)


def deleted_since(store: Store, host: str, service: str, signer: SigningKey, created: dt.datetime) -> Genuine:
    """An archive that was in this store and is deleted, with decisive records."""
    found = with_records(store, add(store, created, service, host, data=SMALL, sign=signer), signer)
    for item in list(store.list(f"{host}/{service}")):
        if item.key.startswith(found.key):
            store.delete(item.key)
    return found


def with_records(store: Store, key: str, signer: SigningKey) -> Genuine:
    for number, kind in enumerate(DECISIVE):
        add_record(store, key, kind, NOW - (number + 1) * MINUTE, sign=signer)
    return taken(store, key)


# What an attacker does


DIRECTORIES = (f"{HOST}/notes", f"{HOST}/wiki", f"{OTHER_HOST}/notes", f"zz/{HOST}/notes", HOST, "", "new/notes")
JUNK = (bytes(len(SMALL)), SMALL, bytes(len(LARGE)), b"", b"x")
PICKS = st.integers(0, 99)


@dataclass(frozen=True)
class Act:
    """One thing that an attacker does. what: for messages."""

    what: str
    run: Callable[[World], None] = field(repr=False)


def pick(items: Sequence[object], number: int) -> object:
    return items[number % len(items)]


def try_put(store: Store, key: str, data: bytes) -> None:
    with contextlib.suppress(AlreadyExists):
        put(store, key, data)


def in_directory(directory: str, name: str) -> str:
    return f"{directory}/{name}".lstrip("/")


def archive_keys(world: World) -> list[str]:
    return sorted(key for key in keys(world.store) if key.endswith((".age", ".zst")))


@st.composite
def junk(draw: st.DrawFn) -> Act:
    """An archive-like name, later than all others more often than not."""
    directory = draw(st.sampled_from(DIRECTORIES))
    created = NOW - draw(st.integers(-3, 400)) * HOUR - draw(st.integers(0, 59)) * MINUTE
    data = draw(st.sampled_from(JUNK))
    service = directory.rpartition("/")[2] or "notes"
    key = in_directory(directory, key_of(created, service, encrypted=draw(st.booleans())).rpartition("/")[2])
    return Act(f"add {key} of {len(data)} bytes", lambda world: try_put(world.store, key, data))


@st.composite
def forged_sidecar(draw: st.DrawFn) -> Act:
    """A sidecar beside any archive that nobody accepted has signed, under either name."""
    target, form, slot = draw(PICKS), draw(PICKS), draw(st.integers(0, 20))
    changes = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "size": st.sampled_from([len(SMALL), len(LARGE), 1]),
                "after": st.just("2030-01-01T00:00:00Z"),
                "basis": st.sampled_from(["history", "root", "written"]),
                "features": st.just(("delta",)),
                "kind": st.just("compose"),
            },
        )
    )

    def act(world: World) -> None:
        key = str(pick(archive_keys(world), target))
        if key.count("/") != 2:
            return
        data = world.store.read(key, 0, 1 << 20)
        head, etag = replace(head_of(data, key), **changes), world.store.stat(key).etag
        unsigned = sidecar_of(data, key, etag=etag, sign=None, head=head)
        strange = sidecar_of(data, key, etag=etag, sign=STRANGER, head=head)
        forms = [
            unsigned,
            strange,
            sidecar_of(data, key, etag=etag, sign=STRANGER, placed_by=NEW, head=head),
            sidecar_v1(data, key, signer=HOST_KEY.public().fingerprint),
            b"junk",
            b"",
            unsigned.replace(b'{"signature":null}', strange.split(b"\n")[1]),
            make_statement("drunner-vault-sidecar", 3, {}, STRANGER.sign).encode(),
        ]
        if world.scene.stolen:
            forms += [sidecar_of(data, key, etag=etag, sign=world.scene.stolen, head=head)] * len(forms)
        name = key + ".json" if slot == 0 else signed_key(key, NOW + slot * MINUTE)
        try_put(world.store, name, pick(forms, form))  # type: ignore[arg-type]

    return Act(f"add sidecar {form} in slot {slot} beside archive {target} with {changes}", act)


@st.composite
def replayed(draw: st.DrawFn) -> Act:
    """A genuine archive or junk with a genuine sidecar, in another place or under another name."""
    which, mixed, slot = draw(PICKS), draw(PICKS), draw(st.sampled_from([".json", ".json", ".signed"]))
    directory = draw(st.none() | st.sampled_from(DIRECTORIES))
    later = draw(st.none() | st.integers(-48, 48).filter(bool))
    data = draw(st.none() | st.sampled_from(JUNK))
    swapped = draw(RARELY)

    def act(world: World) -> None:
        item: Genuine = pick(world.genuine, which)  # type: ignore[assignment]
        own, _, name = item.key.rpartition("/")
        if later is not None:
            name = key_of(NOW + later * HOUR, own.rpartition("/")[2]).rpartition("/")[2]
        key = in_directory(own if directory is None else directory, name)
        sidecar = item.sidecar
        if swapped:  # its head with the place of another one
            other: Genuine = pick(world.genuine, mixed)  # type: ignore[assignment]
            sidecar = b"\n".join([*sidecar.split(b"\n")[:2], *other.sidecar.split(b"\n")[2:]])
        if key not in world.base:
            try_put(world.store, key, item.data if data is None else data)
        elif item.key == key and not swapped:
            return  # a genuine sidecar beside its own archive
        try_put(world.store, key + ".json" if slot == ".json" else signed_key(key, NOW), sidecar)

    return Act(
        f"replay {which} to {directory} at {later} as {slot}, swapped {swapped and mixed}, data {data!r:.20}",
        act,
    )


@st.composite
def forged_records(draw: st.DrawFn) -> Act:
    """Records that nobody accepted has signed; perhaps many of them."""
    target, kind = draw(PICKS), draw(st.sampled_from(RecordKind))
    minutes, times = draw(st.integers(-20_000, 2_000)), draw(st.sampled_from([1, 1, 1, 15, 17]))
    form = draw(st.sampled_from(["unsigned", "stranger", "stolen", "junk"]))

    def act(world: World) -> None:
        key = str(pick(archive_keys(world), target))
        sign = {"stranger": STRANGER, "stolen": world.scene.stolen}.get(form)
        for number in range(times):
            at = NOW + (minutes - number) * MINUTE
            name = record_key(key, kind, at)
            if form == "junk" or key.count("/") != 2:
                try_put(world.store, name, b"junk")
            elif not any(item.key == name for item in world.store.list(key.rpartition("/")[0])):
                add_record(world.store, key, kind, at, sign=sign)

    return Act(f"add {times} {form} records beside {target}: {kind}, at {minutes}", act)


@st.composite
def replayed_record(draw: st.DrawFn) -> Act:
    """A genuine record beside another archive, or from another store, or under a name of another kind or time."""
    target, which, one = draw(PICKS), draw(PICKS), draw(PICKS)
    same = draw(st.booleans())
    kind = draw(st.none() | st.none() | st.sampled_from(DECISIVE))
    minutes = draw(st.none() | st.none() | st.integers(-3_000, 3_000))

    def act(world: World) -> None:
        with_some = [item for item in world.genuine if item.records]
        item: Genuine = pick(with_some, which)  # type: ignore[assignment]
        found: tuple[RecordName, bytes] = pick(item.records, one)  # type: ignore[assignment]
        key = item.key if same else str(pick(world.base, target))
        at = found[0].at if minutes is None else NOW + minutes * MINUTE
        name = record_key(key, kind or found[0].kind, at)
        try_put(world.store, name, found[1])

    return Act(f"replay record {one} of {which} beside {'itself' if same else target} as {kind} at {minutes}", act)


@st.composite
def overwritten(draw: st.DrawFn) -> Act:
    """An archive is overwritten by bytes of the same size, or its sidecar by another one."""
    which, mixed, part = (
        draw(PICKS),
        draw(PICKS),
        draw(st.sampled_from(["archive", "same bytes", "sidecar", "sidecar v1"])),
    )

    def act(world: World) -> None:
        key = str(pick(world.base, which))
        data = world.store.read(key, 0, 1 << 20)
        other: Genuine = pick(world.genuine, mixed)  # type: ignore[assignment]
        if part in ("archive", "same bytes") and not world.store.stat(key).etag:
            return  # only `verify` finds that
        if part == "archive":
            world.store.overwrite(key, bytes(len(data)))
        elif part == "same bytes":
            world.store.overwrite(key, data)
        elif part == "sidecar v1":
            world.store.overwrite(key + ".json", sidecar_v1(data, key))
        elif other.key != key:
            world.store.overwrite(key + ".json", other.sidecar)
        else:
            return
        world.hidden.add(key)

    return Act(f"overwrite {part} of {which} by that of {mixed}", act)


UNKNOWN_NAMES = st.sampled_from(
    [
        f"{HOST}/notes/README",
        f"{HOST}/notes.json",
        "drunner-vault-store.json.old",
        f"{OTHER_HOST}/notes/notes-20260201T000000Z.tar.zst.age.delta",
        f"{HOST}/wiki/notes-20269901T000000Z.tar.zst.age",
    ]
)


def unknown_names() -> st.SearchStrategy[Act]:
    return UNKNOWN_NAMES.map(lambda key: Act(f"add {key}", lambda world: try_put(world.store, key, b"x")))


ADDITIONS = st.one_of(
    junk(),
    junk(),
    forged_sidecar(),
    forged_sidecar(),
    replayed(),
    replayed(),
    forged_records(),
    replayed_record(),
    replayed_record(),
    unknown_names(),
)
ATTACKS = st.lists(st.one_of(ADDITIONS, ADDITIONS, ADDITIONS, overwritten()), min_size=1, max_size=12)


# What is decided


def read(world: World) -> Catalog:
    return CatalogReader(world.scene.by, NOW).read(root_of(world.store))


def deleted(plan: PrunePlan) -> set[str]:
    """The keys of all objects that go, of archives and of sidecars without one."""
    doomed = [verdict.archive for each in plan.services for verdict in each.verdicts if not verdict.keep]
    return {key for item in (*doomed, *plan.orphans) for key in item.keys}


def chosen(catalog: Catalog, directory: Directory) -> object:
    """The key of the newest archive of a directory, or why there is none."""
    group = [item for item in catalog.archives if item.group == directory]
    try:
        return select_newest(catalog, group, NOW).archive.key
    except (BadUsage, StorageError) as error:
        return type(error)


def is_damage_hidden(world: World, directory: Directory) -> bool:
    """Return True if an archive that was found damaged has so many newer records that this one is not read."""
    below = "/".join(directory) + "/"
    records = [name for key in keys(world.store) if key.startswith(below) and (name := parse_record_name(key))]
    counts = Counter(name.archive for name in records if name.kind is RecordKind.DAMAGED)
    return max(counts.values(), default=0) > MOST_READ


@pytest.mark.parametrize("scene", SCENES)
@given(base=BASES, retention=RETENTIONS, attacks=ATTACKS, etags=st.booleans())
@UNHURRIED
def test_what_is_not_proven_deletes_nothing_and_is_never_chosen(
    scene: str, base: tuple[list[Made], list[Made]], retention: Retention, attacks: list[Act], etags: bool
) -> None:
    world = build(SCENES[scene], base, etags=etags)
    honest = keys(world.store)
    before = read(world)
    assert {item.key for item in before.archives if item.is_proven} == set(world.base)
    for act in attacks:
        act.run(world)
    after = read(world)
    proven = {item.key for item in after.archives if item.is_proven}
    assert set(world.base) - world.hidden <= proven <= set(world.base)
    # what was overwritten does not count any more, as if it were not there
    left = replace(before, archives=tuple(item for item in before.archives if item.key in proven))
    plans = [plan_prune(catalog, retention, NOW, dt.UTC) for catalog in (before, left, after)]
    going_before, going_left, going_after = (deleted(plan) & honest for plan in plans)
    assert going_after <= going_left
    if proven == set(world.base) or not any(each.frozen for each in plans[0].services):
        assert going_after <= going_before
    for directory in {item.group for item in left.archives}:
        expected = chosen(left, directory)
        if expected is not StorageError and not is_damage_hidden(world, directory):
            assert chosen(after, directory) == expected


@pytest.mark.parametrize("scene", SCENES)
def test_a_genuine_archive_of_another_store_is_not_chosen(scene: str) -> None:
    plain = Made(1, large=False, history=False, damaged=False, suspect=False, accepted=False)
    world = build(SCENES[scene], ([plain], [plain]))
    before = read(world)
    for item in world.genuine:
        for suffix, data in (("", item.data), (".json", item.sidecar)):
            try_put(world.store, item.key + suffix, data)
    after = read(world)
    assert len(after.archives) > len(before.archives)
    for directory in {item.group for item in before.archives}:
        assert chosen(after, directory) == chosen(before, directory)


def test_an_archive_that_was_found_damaged_is_not_chosen_however_many_records_are_added() -> None:
    damaged, intact = (
        Made(days, large=False, history=False, damaged=not days, suspect=False, accepted=False) for days in (0, 1)
    )
    world = build(SCENES["the host itself"], ([damaged, intact], [intact]))
    newest, other, _ = world.base
    assert chosen(read(world), (HOST, "notes")) == other
    for number in range(2 * MOST_READ):
        add_record(world.store, newest, RecordKind.DAMAGED, NOW + number * MINUTE, sign=STRANGER)
    assert (HOST, "notes") in read(world).frozen
    assert chosen(read(world), (HOST, "notes")) == other
