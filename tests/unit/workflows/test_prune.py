"""Pruning: nothing is deleted without a reason, and never the last good archive of a service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.catalogs import DAY, HOUR, NOW, Hands, NoLocks, Watched, add, daily, dump, key_of, keys, sealed

from drunner_vault.catalog.catalog import Archive, archives, newest
from drunner_vault.catalog.records import RecordKind, add_record
from drunner_vault.errors import NotFound
from drunner_vault.policy import Retention, Span
from drunner_vault.stores.faulty import Fault, Faults, FaultyStore
from drunner_vault.stores.store import Leftover, Store
from drunner_vault.workflows.archives.prune import (
    PrunePlan,
    PruneReport,
    ServicePlan,
    accept,
    carry_out,
    dead_leftovers,
    plan_services,
)

KEEP_TWO = Retention(keep_last=2)
DAILY = Retention(keep_daily=3)
LARGE = 200_000


def planned(store: Store, retention: Retention, now: dt.datetime = NOW) -> PrunePlan:
    return PrunePlan(plan_services(archives(store), retention, now, dt.UTC, can_lock=store.can_lock))


def prune(store: Store, retention: Retention, now: dt.datetime = NOW) -> PruneReport:
    return carry_out(store, planned(store, retention, now), now)


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
    assert len(list(plan.doomed())) == 8
    assert dump(store) == before
    assert store.deletes == []


def test_what_no_rule_keeps_goes_the_oldest_first_and_every_sidecar_before_its_archive() -> None:
    store = NoLocks()
    made = [add(store, moment) for moment in daily(range(5))]
    add_record(store, made[4], RecordKind.VERIFIED, NOW, {})
    report = prune(store, KEEP_TWO)
    assert report.deleted == [made[4], made[3], made[2]]
    assert store.deletes[:2] == [made[4] + ".json", made[4]]
    assert "verified" in store.deletes[2]
    assert left(store) == [0, 1]
    assert keys(store) == {key + suffix for key in made[:2] for suffix in ("", ".json")}
    assert prune(store, KEEP_TWO) == PruneReport()


def test_services_and_hosts_are_pruned_each_by_itself() -> None:
    store = NoLocks()
    for host, service in (("a", "notes"), ("b", "notes"), ("a", "wiki")):
        for moment in daily(range(3)):
            add(store, moment, service, host)
    prune(store, Retention(keep_last=1))
    assert {item.group for item in archives(store)} == {("a", "notes"), ("b", "notes"), ("a", "wiki")}
    assert left(store) == [0, 0, 0]


def test_only_complete_archives_have_a_place() -> None:
    store = NoLocks()
    add(store, NOW, data=sealed()[:-1], sidecar=False)
    well = add(store, NOW - DAY)
    add(store, NOW - 2 * DAY)
    add(store, NOW - 3 * DAY, data=sealed()[:-1], sidecar=False)
    prune(store, Retention(keep_last=1))
    assert left(store) == [0, 1]
    assert archives(store)[1].key == well


# (days ago, complete, grown, in the future, locked, suspect, accepted, damaged)
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
RULES = st.sampled_from(
    [KEEP_TWO, DAILY, Retention(keep_last=1), Retention(keep_within=Span(days=3)), Retention(keep_weekly=2)]
)


def catalogue(chosen: Sequence[tuple[int, bool, int, bool, bool, bool, bool]]) -> list[Archive]:
    made = []
    for days, complete, size, locked, suspect, accepted, sidecar in chosen:
        created = NOW - days * DAY
        made.append(
            Archive(
                key=key_of(created),
                name=key_of(created).rpartition("/")[2],
                host="there",
                service="notes",
                created=created,
                modified=created,
                size=size,
                has_sidecar=sidecar,
                fault="" if complete else "it is cut",
                locked_until=NOW + 5 * DAY if locked else None,
                suspect=created if suspect else None,
                accepted=created + HOUR if accepted else None,
                keys=(key_of(created),),
            )
        )
    return made


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(CATALOGUES, RULES, st.booleans())
def test_whatever_there_is_the_newest_good_one_stays_and_nothing_locked_goes(
    chosen: Sequence[tuple[int, bool, int, bool, bool, bool, bool]], retention: Retention, can_lock: bool
) -> None:
    found = catalogue(chosen)
    plan = PrunePlan(plan_services(found, retention, NOW, dt.UTC, can_lock=can_lock))
    doomed = {item.key for item in plan.doomed()}
    good = [item for item in found if item.complete and item.created <= NOW]
    if good:
        assert newest(good, NOW).key not in doomed  # type: ignore[union-attr]
    else:
        assert not doomed
    assert not [item for item in found if item.key in doomed and (item.locked_until or item.created > NOW)]
    verdicts = [verdict for service in plan.services for verdict in service.verdicts]
    assert {verdict.archive.key for verdict in verdicts} == {item.key for item in found}
    assert all(verdict.reasons for verdict in verdicts)
    assert not (doomed and plan.services[0].frozen)
    for verdict in verdicts:
        if verdict.lock_until:
            assert can_lock
            assert verdict.keep
            assert NOW < verdict.lock_until <= NOW + 3653 * DAY
            assert verdict.archive.locked_until is None or verdict.archive.locked_until < verdict.lock_until


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
    accept(store, planned(store, KEEP_TWO, now).services, "notes", now)
    report = prune(store, KEEP_TWO, now)
    assert len(report.deleted) == 18
    assert len(archives(store)) == 2


def test_what_does_not_count_freezes_nothing() -> None:
    store = NoLocks()
    for moment in daily(range(6, 0, -1)):
        add(store, moment, data=sealed(LARGE))
    add(store, NOW, data=sealed()[:-1], sidecar=False)
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
    accepted = accept(frozen, planned(frozen, KEEP_TWO).services, which, NOW)
    assert {item.host for item in accepted} == thawed
    assert {item.created for item in accepted} == {NOW}
    assert {host for host, _ in frozen_services(frozen)} == {"a", "b"} - thawed


@pytest.mark.parametrize("which", ["wiki", "c/notes", "a", "notes/a", ""])
def test_accepting_what_is_not_there_is_refused(which: str, frozen: NoLocks) -> None:
    before = keys(frozen)
    with pytest.raises(NotFound):
        accept(frozen, planned(frozen, KEEP_TWO).services, which, NOW)
    assert keys(frozen) == before


def test_what_a_clock_that_ran_ahead_made_does_not_stand_in_for_the_accepted_one(frozen: NoLocks) -> None:
    add(frozen, NOW + 300 * DAY, host="a")
    accept(frozen, planned(frozen, KEEP_TWO).services, "a/notes", NOW)
    assert frozen_services(frozen) == {("b", "notes")}


def test_a_service_that_cannot_be_marked_as_frozen_is_reported(frozen: NoLocks) -> None:
    for fault in (Fault.REFUSED, Fault.BEFORE):
        plan = planned(frozen, KEEP_TWO)
        report = carry_out(FaultyStore(frozen, Faults(1, fault, times=100)), plan, NOW)
        assert len(report.failed) == 2
        assert all("could not be marked" in failure for failure in report.failed)


def test_what_is_locked_is_never_tried() -> None:
    store = Watched()
    for number, moment in enumerate(daily(range(9))):
        add(store, moment, lock=NOW + DAY if number % 2 else None)
    report = prune(store, Retention(keep_last=1))
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


def well_stocked() -> NoLocks:
    """Two services with much to delete: some of it damaged, cut, verified, or only half there."""
    store = NoLocks()
    for service in ("notes", "wiki"):
        for moment in daily(range(6)):
            key = add(store, moment, service)
        add_record(store, key, RecordKind.VERIFIED, NOW, {})
        add(store, NOW - 3 * DAY - HOUR, service, data=sealed()[:-1])
        store.delete(add(store, NOW - 3 * DAY - 2 * HOUR, service))
        damaged = add(store, NOW - 4 * DAY - HOUR, service)
        add_record(store, damaged, RecordKind.DAMAGED, NOW, {})
    return store


def newest_keys(store: Store) -> set[str]:
    found = archives(store)
    groups = {item.group for item in found}
    best = [newest([item for item in found if item.group == group], NOW) for group in groups]
    return {item.key for item in best if item}


def test_whichever_call_fails_the_newest_stay_and_the_next_prune_finishes() -> None:
    finished, counting = well_stocked(), Faults()
    plan = planned(finished, KEEP_TWO)
    carry_out(FaultyStore(finished, counting), plan, NOW)
    assert counting.calls > 20
    cases = 0
    for fault in Fault:
        for number in range(1, counting.calls + 1):
            store = well_stocked()
            best = newest_keys(store)
            report = carry_out(FaultyStore(store, Faults(number, fault)), planned(store, KEEP_TWO), NOW)
            assert len(report.failed) in ((1,) if fault is not Fault.DEAD else range(1, 99))
            assert newest_keys(store) == best
            assert all(item.complete for item in archives(store) if item.key in best)
            assert prune(store, KEEP_TWO).failed == []
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
    services: tuple[ServicePlan, ...] = ()
    report = carry_out(FaultyStore(store, Faults(1, Fault.REFUSED)), PrunePlan(services, found), NOW)
    assert report.removed == ["a/b/two"]
    assert "a/b/one is still there" in report.failed[0]
    assert [item.key for item in store.leftovers()] == ["a/b/one"]
