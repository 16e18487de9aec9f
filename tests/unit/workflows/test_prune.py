"""Pruning: nothing is deleted without a reason, and never the last good archive of a series."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.catalogs import (
    DAY,
    HOST,
    HOST_KEY,
    HOUR,
    NOW,
    Hands,
    NoLocks,
    Watched,
    add,
    add_record,
    archives,
    catalog,
    daily,
    dump,
    key_of,
    keys,
    root_of,
    sealed,
    sidecar_of,
    sidecar_v1,
    signers,
    trusting,
)

from drunner_vault.archive import Head
from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.catalog import Catalog, newest
from drunner_vault.catalog.records import RecordKind
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.errors import NotFound
from drunner_vault.policy import Retention, Span
from drunner_vault.signing import SigningKey
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.stores.store import Leftover, Store, StoredObject, put
from drunner_vault.workflows.archives.prune import (
    PrunePlan,
    PruneReport,
    Verdict,
    accept,
    carry_out,
    dead_leftovers,
    delete_unsigned,
    plan_prune,
    plan_unsigned,
)

KEEP_ONE, KEEP_TWO = Retention(keep_last=1), Retention(keep_last=2)
DAILY = Retention(keep_daily=3)
LARGE = 200_000
STRANGER = SigningKey.generate()
HOSTS = signers(trusting((HOST_KEY, HOST), (HOST_KEY, "a"), (HOST_KEY, "b")))


def planned(store: Store, retention: Retention, now: dt.datetime = NOW, by: HostSigners | None = None) -> PrunePlan:
    by = replace(by or HOSTS, now=now)
    return plan_prune(catalog(store, by=by, now=now), retention, now, dt.UTC)


def execute(store: Store, plan: PrunePlan, now: dt.datetime = NOW, faults: Faults | None = None) -> PruneReport:
    root = root_of(store)
    if faults:
        root = replace(root, store=FaultyStore(store, faults))
    return carry_out(root, plan, now, HOST_KEY.sign)


def prune(store: Store, retention: Retention, now: dt.datetime = NOW) -> PruneReport:
    return execute(store, planned(store, retention, now), now)


def verdicts(plan: PrunePlan) -> list[Verdict]:
    return [verdict for service in plan.services for verdict in service.verdicts]


def doomed(plan: PrunePlan) -> set[str]:
    return {verdict.archive.key for verdict in verdicts(plan) if not verdict.keep}


def left(store: Store) -> list[int]:
    """How many days before now the archives that are left were made."""
    return [(NOW - item.created).days for item in archives(store)]


def test_a_plan_changes_nothing() -> None:
    store = Watched()
    for moment in daily(range(9)):
        add(store, moment)
    add(store, NOW - 20 * DAY, data=sealed(LARGE))
    before = dump(store)
    plan = planned(store, KEEP_TWO)
    assert len(doomed(plan)) == 8
    assert dump(store) == before
    assert store.deletes == []


def test_what_no_rule_keeps_goes_the_oldest_first_and_every_sidecar_after_its_archive() -> None:
    store = NoLocks()
    made = [add(store, moment) for moment in daily(range(5))]
    record = add_record(store, made[4], RecordKind.VERIFIED, NOW)
    put(store, made[4] + ".signed-20260301T000000Z.json", b"junk")
    report = prune(store, KEEP_TWO)
    assert report.deleted == [made[4], made[3], made[2]]
    assert store.deletes[:4] == [
        made[4],
        record,
        made[4] + ".signed-20260301T000000Z.json",
        made[4] + ".json",
    ]
    assert left(store) == [0, 1]
    assert keys(store) == {key + suffix for key in made[:2] for suffix in ("", ".json")}
    assert prune(store, KEEP_TWO) == PruneReport()


def test_services_and_hosts_are_pruned_each_by_itself() -> None:
    store = NoLocks()
    for host, service in (("a", "notes"), ("b", "notes"), ("a", "wiki")):
        for moment in daily(range(3)):
            add(store, moment, service, host)
    prune(store, KEEP_ONE)
    assert {item.group for item in archives(store)} == {("a", "notes"), ("b", "notes"), ("a", "wiki")}
    assert left(store) == [0, 0, 0]


def test_only_intact_archives_have_a_place() -> None:
    store = NoLocks()
    damaged = add(store, NOW)
    good = add(store, NOW - DAY)
    gone = add(store, NOW - 2 * DAY)
    add_record(store, damaged, RecordKind.DAMAGED, NOW)
    assert prune(store, KEEP_ONE).deleted == [gone]
    assert {item.key for item in archives(store)} == {damaged, good}
    assert planned(store, KEEP_ONE).services[0].verdicts[0].reasons == (
        "last 1 of 1",
        "the newest good one is never deleted",
        "it was found damaged on 2026-03-01",
    )


def test_damage_never_makes_an_archive_go_sooner() -> None:
    store = NoLocks()
    made = [add(store, moment) for moment in daily(range(9))]
    for key in made[1:7]:
        add_record(store, key, RecordKind.DAMAGED, NOW)
    kept = Retention(keep_last=7)
    assert prune(store, kept).deleted == [], "the six stay, and those that take their places stay too"
    add(store, NOW + HOUR)
    for key in made[:1]:
        add_record(store, key, RecordKind.DAMAGED, NOW)
    assert prune(store, kept, NOW + HOUR).deleted == [made[6]]


def test_an_archive_that_only_the_history_knows_takes_nobodys_place() -> None:
    store = NoLocks()

    def adopted(head: Head) -> Head:
        return replace(head, basis="history")

    later_that_day = [add(store, NOW - number * DAY, head=adopted) for number in range(5)]
    written = [add(store, NOW - number * DAY - HOUR) for number in range(5)]
    assert doomed(planned(store, DAILY)) == {later_that_day[3], later_that_day[4], written[3], written[4]}
    unadopted = NoLocks()
    for number in range(5):
        add(unadopted, NOW - number * DAY - HOUR)
    assert doomed(planned(unadopted, DAILY)) == set(written[3:])


def test_an_archive_made_by_a_clock_that_was_behind_does_not_count_and_stays() -> None:
    store = NoLocks()
    for number in (2, 1):
        add(store, NOW - number * DAY)
    behind = add(
        store, dt.datetime(1980, 1, 1, tzinfo=dt.UTC), head=lambda head: replace(head, after="2026-02-28T12:00:00Z")
    )
    same = add(store, NOW, head=lambda head: replace(head, after="2026-03-01T12:00:00Z"))
    plan = planned(store, KEEP_ONE)
    assert doomed(plan) == {key_of(NOW - 2 * DAY)}
    reasons = {verdict.archive.key: verdict.reasons for verdict in verdicts(plan)}
    assert reasons[behind] == (
        "does not count: its clock was behind, as it was made after one of 2026-02-28 12:00:00Z",
    )
    assert "its clock was behind" in reasons[same][0]


def test_only_proven_archives_count_and_are_deleted() -> None:
    store = NoLocks()
    proven = [add(store, NOW - number * DAY) for number in range(3)]
    add(store, NOW + HOUR, sidecar=False)
    add(store, NOW + 2 * HOUR, sign=STRANGER)
    add(store, NOW + 3 * HOUR, sign=None)
    version_1 = add(store, NOW + 4 * HOUR, sidecar=False)
    put(store, version_1 + ".json", sidecar_v1(sealed(), version_1))
    stated = add(store, NOW + 5 * HOUR, sidecar=False)
    put(store, stated + ".json", sidecar_of(sealed(), stated, store="6" * 32, etag=store.stat(stated).etag))
    misplaced = add(store, NOW + 6 * HOUR, sidecar=False)
    put(store, misplaced + ".json", sidecar_of(sealed(), proven[0], etag=store.stat(misplaced).etag))
    store.overwrite(add(store, NOW + 7 * HOUR), sealed())
    plan = planned(store, KEEP_ONE, NOW + DAY)
    assert doomed(plan) == {proven[1], proven[2]}
    assert {verdict.archive.key for verdict in verdicts(plan)} == set(proven)
    (others,) = plan.others
    assert (others.host, others.service, others.count, others.bytes) == ("there", "notes", 7, 7 * len(sealed()))
    assert others.describe() == (
        "7 archives in there/notes do not count (1 misplaced, 1 overwritten, 1 stated, 1 stranger, 3 unsigned)"
    )
    assert len(execute(store, plan).deleted) == 2
    assert len(archives(store)) == 8


def test_each_signer_of_a_directory_has_a_series_of_their_own() -> None:
    store, other = NoLocks(), SigningKey.generate()
    for number in range(3):
        add(store, NOW - number * DAY)
        add(store, NOW - number * DAY - HOUR, sign=other)
    by = signers(trusting((HOST_KEY, HOST), (other, HOST)))
    plan = planned(store, KEEP_ONE, by=by)
    assert {service.signer for service in plan.services} == {HOST_KEY.public().fingerprint, other.public().fingerprint}
    assert doomed(plan) == {key_of(NOW - days * DAY - hours * HOUR) for days in (1, 2) for hours in (0, 1)}


def test_a_directory_that_holds_unknown_names_is_frozen_and_others_are_not() -> None:
    store = NoLocks()
    for number in range(3):
        add(store, NOW - number * DAY)
        add(store, NOW - number * DAY, "wiki")
    put(store, "there/notes/notes-20260131T030000Z.tar.zst.age.delta", b"x")
    plan = planned(store, KEEP_ONE)
    assert doomed(plan) == {key_of(NOW - DAY, "wiki"), key_of(NOW - 2 * DAY, "wiki")}
    assert plan.services[0].held.startswith("it holds what this program does not know: ")
    reasons = plan.services[0].verdicts[1].reasons
    assert reasons == (f"frozen, because {plan.services[0].held}; else: no rule keeps it",)


# (days ago, intact, size, locked, suspect, accepted, not only known from the history)
CATALOGUES = st.lists(
    st.tuples(
        st.integers(-3, 40),
        st.booleans(),
        st.sampled_from([1000, 1000, 50_000, 400_000]),
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda item: item[0],
)
RULES = st.sampled_from([KEEP_TWO, DAILY, KEEP_ONE, Retention(keep_within=Span(days=3)), Retention(keep_weekly=2)])


def catalogue(chosen: Sequence[tuple[int, bool, int, bool, bool, bool, bool]]) -> list[Archive]:
    made = []
    for days, complete, size, locked, suspect, accepted, written in chosen:
        created = NOW - days * DAY
        made.append(
            Archive(
                key=key_of(created),
                host="there",
                service="notes",
                created=created,
                modified=created,
                size=size,
                standing=Standing.PROVEN,
                series=HOST_KEY.public(),
                basis="written" if written else "history",
                has_sidecar=True,
                damaged=None if complete else created,
                fault="" if complete else "it was found damaged",
                locked_until=NOW + 5 * DAY if locked else None,
                suspect=created if suspect else None,
                accepted=created + HOUR if accepted else None,
                objects=(StoredObject(key_of(created), size, created),),
            )
        )
    return made


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(CATALOGUES, RULES, st.booleans())
def test_whatever_there_is_the_newest_good_one_stays_and_nothing_locked_goes(
    chosen: Sequence[tuple[int, bool, int, bool, bool, bool, bool]], retention: Retention, can_lock: bool
) -> None:
    found = catalogue(chosen)
    store = MemoryStore() if can_lock else NoLocks()
    plan = plan_prune(Catalog(root_of(store), HOSTS, tuple(found)), retention, NOW, dt.UTC)
    going = doomed(plan)
    good = [item for item in found if item.complete and item.created <= NOW]
    if good:
        assert newest(good, NOW).key not in going  # type: ignore[union-attr]
    assert not [item for item in found if item.key in going and (item.locked_until or item.created > NOW)]
    assert {verdict.archive.key for verdict in verdicts(plan)} == {item.key for item in found}
    assert all(verdict.reasons for verdict in verdicts(plan))
    assert not (going and plan.services[0].frozen)
    for verdict in verdicts(plan):
        if verdict.lock_until:
            assert can_lock
            assert verdict.keep
            assert NOW < verdict.lock_until <= NOW + 3653 * DAY
            assert verdict.archive.locked_until is None or verdict.archive.locked_until < verdict.lock_until


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(CATALOGUES, RULES)
def test_damage_never_adds_a_deletion(
    chosen: Sequence[tuple[int, bool, int, bool, bool, bool, bool]], retention: Retention
) -> None:
    found = catalogue(chosen)
    intact = [replace(item, fault="", damaged=None) for item in found]
    going, without = (
        doomed(plan_prune(Catalog(root_of(NoLocks()), HOSTS, tuple(items)), retention, NOW, dt.UTC))
        for items in (found, intact)
    )
    assert going <= without


@pytest.mark.parametrize(("usual", "new"), [(LARGE, 0), (0, LARGE)])
def test_a_service_whose_size_leaps_is_frozen_until_a_person_accepts_it(usual: int, new: int) -> None:
    store = NoLocks()
    for moment in daily(range(20, 10, -1)):
        add(store, moment, data=sealed(usual))
    for number in range(10):
        now = NOW + number * DAY
        add(store, now, data=sealed(new))
        report = prune(store, KEEP_TWO, now)
        assert report.deleted == []
        (service,) = planned(store, KEEP_TWO, now).services
        assert service.frozen is not None
        assert service.frozen.key == key_of(NOW)
    now += HOUR
    accept(root_of(store), planned(store, KEEP_TWO, now).services, "notes", now, HOST_KEY.sign)
    report = prune(store, KEEP_TWO, now)
    assert len(report.deleted) == 18
    assert len(archives(store)) == 2


def test_what_does_not_count_freezes_nothing() -> None:
    store = NoLocks()
    for moment in daily(range(6, 0, -1)):
        add(store, moment, data=sealed(LARGE))
    add(store, NOW, sidecar=False)
    add(store, NOW - HOUR, sign=STRANGER)
    add(store, NOW + DAY)
    assert frozen_services(store) == set()


def frozen_services(store: Store, now: dt.datetime = NOW) -> set[tuple[str, str]]:
    return {(plan.host, plan.service) for plan in planned(store, KEEP_TWO, now).services if plan.frozen}


@pytest.fixture
def frozen() -> NoLocks:
    """Two hosts, each with a service of the same name that shrank."""
    store = NoLocks()
    for host in ("a", "b"):
        for moment in daily(range(6, 0, -1)):
            add(store, moment, host=host, data=sealed(LARGE))
        add(store, NOW, host=host)
    return store


@pytest.mark.parametrize(("which", "thawed"), [("notes", {"a", "b"}), ("a/notes", {"a"}), ("b/notes", {"b"})])
def test_accepting_names_a_service_or_that_of_one_host(which: str, thawed: set[str], frozen: NoLocks) -> None:
    assert frozen_services(frozen) == {("a", "notes"), ("b", "notes")}
    accepted = accept(root_of(frozen), planned(frozen, KEEP_TWO).services, which, NOW, HOST_KEY.sign)
    assert {item.host for item in accepted} == thawed
    assert {item.created for item in accepted} == {NOW}
    assert {host for host, _ in frozen_services(frozen)} == {"a", "b"} - thawed


@pytest.mark.parametrize("which", ["wiki", "c/notes", "a", "notes/a", ""])
def test_accepting_what_is_not_there_is_refused(which: str, frozen: NoLocks) -> None:
    before = keys(frozen)
    with pytest.raises(NotFound):
        accept(root_of(frozen), planned(frozen, KEEP_TWO).services, which, NOW, HOST_KEY.sign)
    assert keys(frozen) == before


def test_what_a_clock_that_ran_ahead_made_does_not_stand_in_for_the_accepted_one(frozen: NoLocks) -> None:
    add(frozen, NOW + 300 * DAY, host="a")
    accept(root_of(frozen), planned(frozen, KEEP_TWO).services, "a/notes", NOW, HOST_KEY.sign)
    assert frozen_services(frozen) == {("b", "notes")}


def test_a_service_that_cannot_be_marked_as_frozen_is_reported(frozen: NoLocks) -> None:
    for fault in (Fault.REFUSED, Fault.BEFORE):
        plan = planned(frozen, KEEP_TWO)
        report = execute(frozen, plan, faults=Faults(1, fault, times=100))
        assert len(report.failed) == 2
        assert all("could not be marked" in failure for failure in report.failed)


def test_what_is_locked_is_never_tried() -> None:
    store = Watched()
    for number, moment in enumerate(daily(range(9))):
        add(store, moment, lock=NOW + DAY if number % 2 else None)
    report = prune(store, KEEP_ONE)
    assert report.failed == []
    assert {(NOW - item.created).days % 2 for item in archives(store)[1:]} == {1}
    assert set(store.deletes) == {
        key_of(NOW - days * DAY) + suffix for days in (2, 4, 6, 8) for suffix in ("", ".json")
    }


def test_locks_of_what_is_kept_are_made_longer_and_never_shorter() -> None:
    hands = Hands()
    store = Watched(hands.clock)
    long, short = NOW + 90 * DAY, NOW + HOUR
    for days, lock in ((0, long), (1, short), (2, None)):
        add(store, NOW - days * DAY, lock=lock)
    report = prune(store, DAILY)
    assert report.locked == [key_of(NOW - DAY), key_of(NOW - 2 * DAY)]
    now_locked = {(NOW - item.created).days: item.locked_until for item in archives(store)}
    assert now_locked[0] == long
    assert now_locked[1] == dt.datetime(2026, 3, 3, tzinfo=dt.UTC)
    assert now_locked[2] == dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
    for key, until in ((key_of(NOW - DAY), now_locked[1]), (key_of(NOW - 2 * DAY), now_locked[2])):
        assert store.stat(key + ".json").locked_until == until
    assert prune(store, DAILY) == PruneReport()


def test_a_service_that_is_no_longer_backed_up_gets_no_locks_that_are_over_at_once() -> None:
    store = Watched()
    for moment in daily(range(100, 103)):
        add(store, moment)
    assert prune(store, DAILY) == PruneReport()


def test_a_store_that_cannot_lock_is_not_asked_to() -> None:
    store = NoLocks()
    add(store, NOW)
    assert prune(store, DAILY) == PruneReport()


# Between the listing and the deletion


def test_an_archive_that_has_changed_since_the_listing_is_not_deleted() -> None:
    store = NoLocks()
    made = [add(store, moment) for moment in daily(range(4))]
    plan = planned(store, KEEP_ONE)
    store.overwrite(made[2], sealed())
    report = execute(store, plan)
    assert report.deleted == [made[3], made[1]]
    assert report.failed == [f"{made[2]} was not deleted: {made[2]} has changed meanwhile"]
    assert {made[2], made[2] + ".json"} <= keys(store)


def test_nothing_is_deleted_if_the_newest_that_stays_has_changed() -> None:
    for change in (lambda store, key: store.delete(key), lambda store, key: store.overwrite(key, sealed())):
        store = NoLocks()
        made = [add(store, moment) for moment in daily(range(4))]
        add(store, NOW, "wiki")
        add(store, NOW - DAY, "wiki")
        plan = planned(store, KEEP_ONE)
        change(store, made[0])
        report = execute(store, plan)
        assert report.deleted == [key_of(NOW - DAY, "wiki")]
        assert report.failed == [f"nothing of there/notes was deleted: {made[0]}, the newest, has changed"]
        assert set(made[1:]) <= keys(store)


def test_without_etags_a_change_is_seen_by_size_and_time() -> None:
    hands = Hands(NOW - DAY)
    store = Watched(hands.clock, etags=False)
    made = [add(store, moment) for moment in daily(range(4))]
    plan = planned(store, KEEP_ONE)
    hands.moment = NOW
    store.overwrite(made[2], sealed())
    assert execute(store, plan).deleted == [made[3], made[1]]


def test_an_archive_that_somebody_else_has_deleted_counts_as_deleted() -> None:
    store = NoLocks()
    made = [add(store, moment) for moment in daily(range(3))]
    plan = planned(store, KEEP_ONE)
    for suffix in ("", ".json"):
        store.delete(made[2] + suffix)
    assert execute(store, plan) == PruneReport(deleted=[made[2], made[1]])


# Sidecars and records without their archive


def test_sidecars_without_their_archive_go_after_30_days() -> None:
    hands = Hands(NOW - 31 * DAY)
    store = NoLocks(hands.clock)
    old = add(store, NOW - 90 * DAY)
    record = add_record(store, old, RecordKind.VERIFIED, NOW - 31 * DAY)
    stranger = add(store, NOW - 91 * DAY, sign=STRANGER)
    hands.moment = NOW - 29 * DAY
    young = add(store, NOW - 92 * DAY)
    add(store, NOW)
    for key in (old, stranger, young):
        store.delete(key)
    plan = planned(store, Retention())
    assert [item.key for item in plan.orphans] == [old]
    store.deletes.clear()
    assert execute(store, plan).removed == [old]
    assert store.deletes == [record, old + ".json"]


def test_a_fresh_record_keeps_a_sidecar_without_its_archive() -> None:
    hands = Hands(NOW - 31 * DAY)
    store = NoLocks(hands.clock)
    old = add(store, NOW - 90 * DAY)
    hands.moment = NOW
    add_record(store, old, RecordKind.VERIFIED, NOW - DAY)
    store.delete(old)
    assert planned(store, Retention()).orphans == ()


def test_in_a_frozen_directory_sidecars_without_their_archive_stay() -> None:
    store = NoLocks(Hands(NOW - 31 * DAY).clock)
    store.delete(add(store, NOW - 90 * DAY))
    put(store, "there/notes/notes-20260131T030000Z.delta", b"x")
    assert planned(store, Retention()).orphans == ()


# Archives that do not count


def test_unsigned_archives_are_deleted_only_when_that_is_asked_for() -> None:
    store = NoLocks()
    proven = add(store, NOW)
    junk = add(store, NOW - HOUR, sidecar=False)
    strange = add(store, NOW - 2 * HOUR, sign=STRANGER)
    known = add(store, NOW - 3 * HOUR, sign=None)
    overwritten = add(store, NOW - 4 * HOUR)
    later = add(store, NOW - 5 * HOUR, head=lambda head: replace(head, features=("delta",)))
    elsewhere = f"zz/{key_of(NOW)}"
    put(store, elsewhere, sealed())
    store.overwrite(overwritten, sealed())
    plan = plan_unsigned(catalog(store), lambda item: item.key == known)
    assert {item.key for item in plan.doomed} == {junk, strange, elsewhere}
    kept = {item.key: why for item, why in plan.kept}
    assert set(kept) == {known, overwritten, later}
    assert "archives --adopt" in kept[known]
    assert "was overwritten" in kept[overwritten]
    report = delete_unsigned(store, plan)
    assert set(report.deleted) == {junk, strange, elsewhere}
    assert not any(key.startswith((junk, strange, elsewhere)) for key in keys(store))
    assert {proven, known, overwritten, later} <= keys(store)


def test_sidecars_without_their_archive_are_not_listed_as_unsigned_archives() -> None:
    store = NoLocks()
    store.delete(add(store, NOW))
    plan = plan_unsigned(catalog(store), lambda _: False)
    assert (plan.doomed, plan.kept) == ((), ())


# Failures


def well_stocked() -> NoLocks:
    """Two services with much to delete: some of it damaged, verified, or only half there."""
    store = NoLocks()
    for service in ("notes", "wiki"):
        for moment in daily(range(6)):
            key = add(store, moment, service)
        add_record(store, key, RecordKind.VERIFIED, NOW)
        add(store, NOW - 3 * DAY - HOUR, service, sidecar=False)
        store.delete(add(store, NOW - 3 * DAY - 2 * HOUR, service))
        damaged = add(store, NOW - 4 * DAY - HOUR, service)
        add_record(store, damaged, RecordKind.DAMAGED, NOW)
    return store


def newest_keys(store: Store) -> set[str]:
    found = [item for item in archives(store) if item.is_proven]
    groups = {item.group for item in found}
    best = [newest([item for item in found if item.group == group], NOW) for group in groups]
    return {item.key for item in best if item}


def test_whichever_call_fails_the_newest_stay_and_the_next_prune_finishes() -> None:
    finished, counting, much_later = well_stocked(), Faults(), NOW + 40 * DAY
    best = newest_keys(finished)
    execute(finished, planned(finished, KEEP_TWO), faults=counting)
    prune(finished, KEEP_TWO, much_later)
    assert counting.calls > 20
    cases = 0
    for fault in Fault:
        for number in range(1, counting.calls + 1):
            store = well_stocked()
            report = execute(store, planned(store, KEEP_TWO), faults=Faults(number, fault))
            assert len(report.failed) in ((1,) if fault is not Fault.DEAD else range(1, 99))
            assert newest_keys(store) == best
            assert prune(store, KEEP_TWO, much_later).failed == []
            assert keys(store) == keys(finished)
            cases += 1
    assert cases == counting.calls * len(Fault)


def leftovers(store: Watched, hands: Hands, *ages: tuple[str, dt.timedelta]) -> None:
    for key, ago in ages:
        hands.moment = NOW - ago
        store.begin(key).write(b"x")
    hands.moment = NOW


def dead(store: Watched, idle: Callable[[str, str], bool]) -> set[str]:
    return {item.key for item in dead_leftovers(store, NOW, idle)}


def test_what_dead_uploads_left_is_found_and_others_younger_ones_are_left_alone() -> None:
    hands = Hands()
    store = Watched(hands.clock)
    leftovers(
        store,
        hands,
        ("other/notes/old", DAY + HOUR),
        ("other/notes/young", DAY - HOUR),
        ("here/notes/young", HOUR),
        ("here/busy/young", HOUR),
        ("here/busy/old", DAY + HOUR),
        ("stray-young", HOUR),
        ("stray-old", 2 * DAY),
    )
    found = dead(store, lambda host, service: (host, service) == ("here", "notes"))
    assert found == {"other/notes/old", "here/notes/young", "here/busy/old", "stray-old"}


def test_whether_a_service_is_idle_is_asked_after_its_upload_was_seen() -> None:
    class Live(Watched):
        """Shows what has begun while its leftovers are being looked at."""

        def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
            shown: set[str] = set()
            while fresh := [item for item in super().leftovers(prefix) if item.handle not in shown]:
                shown |= {item.handle for item in fresh}
                yield from fresh

    store = Live()
    store.begin("here/notes/one").write(b"x")
    asked: list[str] = []

    def idle(host: str, service: str) -> bool:
        if not asked:
            store.begin("here/notes/two").write(b"x")
        asked.append(service)
        return True

    assert dead(store, idle) == {"here/notes/one"}


def test_dead_uploads_are_removed_and_what_cannot_be_is_reported() -> None:
    hands = Hands()
    store = Watched(hands.clock)
    leftovers(store, hands, ("a/b/one", 2 * DAY), ("a/b/two", 2 * DAY))
    found: tuple[Leftover, ...] = tuple(dead_leftovers(store, NOW, lambda *_: False))
    report = execute(store, PrunePlan((), leftovers=found), faults=Faults(1, Fault.REFUSED))
    assert report.removed == ["a/b/two"]
    assert "a/b/one is still there" in report.failed[0]
    assert [item.key for item in store.leftovers()] == ["a/b/one"]


def test_a_freeze_does_not_end_because_the_suspicious_archive_is_overwritten() -> None:
    store = NoLocks()
    made = [add(store, moment) for moment in daily(range(6, 0, -1))]
    add_record(store, made[2], RecordKind.SUSPECT, NOW - HOUR)
    assert doomed(plan_prune(catalog(store), KEEP_TWO, NOW, dt.UTC)) == set()
    store.overwrite(made[2], b"x" * len(sealed()))
    plan = plan_prune(catalog(store), KEEP_TWO, NOW, dt.UTC)
    assert doomed(plan) == set()
    assert "was overwritten" in plan.services[0].held
