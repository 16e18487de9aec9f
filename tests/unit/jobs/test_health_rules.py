"""What health finds wrong, and what not, from settings, history and archives alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import DAY, HOUR, NOW, Hands, key_of
from support.listeners import listening

from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.catalog import Catalog
from drunner_vault.catalog.identity import StoreRoot
from drunner_vault.catalog.signers import HostSigners
from drunner_vault.clock import isoformat
from drunner_vault.config import JobSettings
from drunner_vault.errors import BadUsage, Unavailable
from drunner_vault.hoststate.archive_log import LoggedArchive
from drunner_vault.policy import parse_schedule
from drunner_vault.signing import SigningKey
from drunner_vault.stores.memory import MemoryStore
from drunner_vault.workflows.archives.adopt import HostMemory
from drunner_vault.workflows.unattended.alarms import Alarms, Audience, Channel
from drunner_vault.workflows.unattended.health import HealthContext, HealthReport, WatchedJob, examine
from drunner_vault.workflows.unattended.history import DONE, FAILED, History, Run
from drunner_vault.workflows.unattended.jobs import JobReport
from drunner_vault.workflows.unattended.reporting import Reporting
from drunner_vault.workflows.unattended.watch import Watch

JOB = JobSettings("nightly", "vault.toml, line 1", services=("notes",), store="near", schedule="@daily")
RUN = Run("x", "nightly", "backup", "notes", "near", isoformat(NOW - 12 * HOUR))
LONG_AGO = NOW - 100 * DAY
OWN = SigningKey.generate().public()


def archive(created: dt.datetime, **facts: object) -> Archive:
    """A proven archive of this host's own series, of which its history knows."""
    item = Archive(
        key=key_of(created, host="here"),
        host="here",
        service="notes",
        created=created,
        modified=created,
        size=5,
        standing=Standing.PROVEN,
        signer=OWN.fingerprint,
        series=OWN,
    )
    return replace(item, **facts)  # type: ignore[arg-type]


def not_proven(created: dt.datetime, standing: Standing, **facts: object) -> Archive:
    """An archive of another standing, signed by nobody unless that is said."""
    return replace(archive(created), standing=standing, **({"series": None, "signer": ""} | facts))  # type: ignore[arg-type]


def logged(item: Archive) -> LoggedArchive:
    """What this host has written down of an archive."""
    return LoggedArchive(
        archive=item.name,
        host=item.host,
        workload=item.service,
        id="",
        created=isoformat(item.created),
        size=item.size,
        sha256=item.sha256,
        store="",
        address="near",
        complete=True,
    )


def found(
    *archives: Archive,
    job: JobSettings = JOB,
    latest: Sequence[Run] = (RUN,),
    installed: Mapping[str, dt.datetime | None] | None = None,
    first_seen: dt.datetime = LONG_AGO,
    running: frozenset[str] = frozenset(),
    known: Sequence[Archive] | None = None,
    frozen: Mapping[tuple[str, str], str] | None = None,
) -> HealthReport:
    """What is wrong with a host that has these archives in the store `near`, and none in `far`; `gone` is gone.

    known: of which its history knows; of all, unless that is said.
    """

    def look(store: str) -> Catalog:
        if store == "gone":
            raise Unavailable("no route to gone")
        items = archives if store == "near" else ()
        signers = HostSigners((), OWN, "here", NOW)
        return Catalog(StoreRoot(MemoryStore(store), "5" * 32), signers, items, frozen or {})

    memory = HostMemory((), [logged(item) for item in (archives if known is None else known)])
    watched = WatchedJob(job, parse_schedule(job.schedule) if job.schedule else None, dt.UTC, first_seen)
    context = HealthContext(
        now=NOW,
        installed={"notes": LONG_AGO, "wiki": LONG_AGO} if installed is None else installed,
        latest=latest,
        started={run.job: run.begun for run in latest},
        running=running,
        catalog=look,
        memory=lambda _store: memory,
        kept=frozenset({"near"}),
    )
    return examine([watched], context)


def kinds(report: HealthReport) -> list[str]:
    return [problem.kind for problem in report.problems]


FRESH = archive(NOW - 12 * HOUR)


def test_a_fresh_archive_is_well() -> None:
    report = found(FRESH)
    assert report.healthy
    (item,) = report.services
    assert (item.newest, item.age, item.max_age) == (isoformat(FRESH.created), 12 * 3600, 30 * 3600)


@pytest.mark.parametrize(
    ("archives", "job", "stale"),
    [
        ([archive(NOW - 29 * HOUR)], JOB, False),  # a day, and a quarter of one
        ([archive(NOW - 31 * HOUR)], JOB, True),
        ([archive(NOW - 31 * HOUR)], replace(JOB, jitter=7200.0), False),
        ([archive(NOW - 31 * HOUR)], replace(JOB, max_age=32 * 3600.0), False),
        ([archive(NOW - 2 * HOUR)], replace(JOB, max_age=3600.0), True),
        ([archive(NOW - 31 * HOUR)], replace(JOB, schedule=""), False),
        ([], JOB, True),
        ([archive(NOW, fault="cut short"), archive(NOW - 40 * HOUR)], JOB, True),
        ([archive(NOW, problems=3)], JOB, True),
        ([archive(NOW, problems=3)], replace(JOB, allow_partial=True), False),
        ([archive(NOW + 900 * DAY)], JOB, True),  # by a clock that ran ahead
        ([replace(FRESH, service="wiki")], JOB, True),
    ],
)
def test_the_newest_good_archive_must_not_be_too_old(archives: list[Archive], job: JobSettings, stale: bool) -> None:
    assert kinds(found(*archives, job=job)) == (["stale"] if stale else [])


def test_a_job_that_was_never_run_is_wrong_at_once_where_something_has_no_archive() -> None:
    (problem,) = found(latest=(), first_seen=NOW).problems
    assert (problem.kind, problem.event, problem.job) == ("never", "stale", "nightly")
    assert problem.text == "job nightly was never run, and there is no archive of notes in near"
    assert found(FRESH, latest=(), first_seen=NOW).healthy  # by hand, or by a job of another name
    assert found(latest=(), first_seen=NOW, running=frozenset({"nightly"})).healthy
    assert found(latest=(), first_seen=NOW, job=replace(JOB, schedule="")).healthy
    assert kinds(found(FRESH, latest=())) == ["never"]  # which is said once, and not twice


def test_what_is_new_is_given_time() -> None:
    assert found(installed={"notes": NOW - HOUR}).healthy
    assert found(first_seen=NOW - HOUR).healthy
    assert kinds(found(installed={"notes": None})) == ["stale"]


def test_further_stores_are_watched_as_well_and_what_cannot_be_seen_is_said_once() -> None:
    report = found(FRESH, job=replace(JOB, services=("*",), exclude=("wiki",), copy_to=("far", "gone")))
    assert [(problem.kind, problem.store) for problem in report.problems] == [("stale", "far"), ("unreachable", "gone")]
    assert "no route to gone" in report.problems[1].text
    assert report.unseen == {"gone"}


@pytest.mark.parametrize(
    ("archives", "wrong"),
    [
        ([archive(NOW - HOUR), archive(NOW - 5 * DAY)], False),
        ([archive(NOW - HOUR), archive(NOW - 8 * DAY)], True),
        ([archive(NOW - HOUR), archive(NOW - 9 * DAY, verified=NOW - 6 * DAY)], False),
        ([archive(NOW - HOUR), archive(NOW - 9 * DAY, drilled=NOW - 6 * DAY)], False),
        ([archive(NOW - HOUR, verified=NOW - 8 * DAY)], True),
    ],
)
def test_archives_must_not_be_unverified_for_too_long(archives: list[Archive], wrong: bool) -> None:
    job = replace(JOB, max_unverified=7 * 86400.0)
    assert kinds(found(*archives, job=job)) == (["unverified"] if wrong else [])
    assert found(*archives).healthy


@pytest.mark.parametrize(
    ("archives", "wrong"),
    [
        ([FRESH, archive(NOW - HOUR, damaged=NOW, fault="it was found damaged")], True),
        ([FRESH, archive(NOW - 20 * HOUR, damaged=NOW, fault="it was found damaged")], False),  # there is a newer one
        ([FRESH, archive(NOW - HOUR, fault="it has no end")], False),  # perhaps on its way at this moment
        ([FRESH, archive(NOW - HOUR, damaged=NOW - HOUR, verified=NOW)], False),  # read again since, and well
    ],
)
def test_a_newest_archive_that_was_found_damaged_is_a_problem_until_there_is_a_better_one(
    archives: list[Archive], wrong: bool
) -> None:
    assert kinds(found(*archives)) == (["damaged"] if wrong else [])


@pytest.mark.parametrize(
    ("started", "first_seen", "wrong"),
    [
        (NOW - 26 * HOUR, LONG_AGO, False),  # was due two hours ago
        (NOW - 33 * HOUR, LONG_AGO, True),  # has missed two times: 10:00 yesterday and today
        (None, LONG_AGO, True),
        (None, NOW - 5 * HOUR, False),
        (NOW - 60 * HOUR, NOW - HOUR, False),  # the job had been gone meanwhile
    ],
)
def test_a_job_that_was_not_run_when_it_was_due_is_wrong(
    started: dt.datetime | None, first_seen: dt.datetime, wrong: bool
) -> None:
    job = replace(JOB, task="verify", schedule="0 10 * * *")
    latest = [replace(RUN, task="verify", started=isoformat(started))] if started else []
    assert kinds(found(job=job, latest=latest, first_seen=first_seen)) == (["never"] if wrong else [])
    assert found(job=job, latest=latest, first_seen=first_seen, running=frozenset({"nightly"})).healthy
    assert found(job=replace(job, schedule=""), latest=latest, first_seen=first_seen).healthy


def test_the_last_run_of_each_step_must_have_been_well_as_far_as_the_job_still_takes_it() -> None:
    def wrong(task: str, service: str = "notes", store: str = "near", **facts: object) -> list[str]:
        failed = replace(RUN, task=task, service=service, store=store, verdict=FAILED, why="no")
        job = replace(JOB, copy_to=("near2",), **facts)  # type: ignore[arg-type]
        return [problem.text for problem in found(FRESH, job=job, latest=[RUN, failed]).problems if problem.task]

    assert wrong("backup") == ["backup of notes (job nightly) failed: no"]
    assert wrong("copy", store="near2") == ["copy of notes to near2 (job nightly) failed: no"]
    assert wrong("prune") == ["prune of notes in near (job nightly) failed: no"]
    assert wrong("job", "") == ["job nightly failed: no"]
    assert wrong("copy", store="far") == []
    assert wrong("prune", prune=False) == []
    assert wrong("backup", "wiki") == []


def test_a_service_that_is_named_but_not_installed_is_wrong_once() -> None:
    failed = replace(RUN, task="job", service="", verdict=FAILED, why="shop is not installed")
    for latest in ([RUN], [RUN, failed]):
        (problem,) = found(FRESH, job=replace(JOB, services=("notes", "shop")), latest=latest).problems
        assert "shop is not installed" in problem.text


@pytest.mark.parametrize("standing", [standing for standing in Standing if standing is not Standing.PROVEN])
def test_only_proven_archives_of_this_hosts_own_series_are_good(standing: Standing) -> None:
    other = SigningKey.generate().public()
    for item in (
        not_proven(NOW - HOUR, standing),
        not_proven(NOW - HOUR, standing, signer=OWN.fingerprint, series=OWN),
        archive(NOW - HOUR, series=other, signer=other.fingerprint),
        archive(NOW - HOUR, missing=True),
    ):
        report = found(item, known=[])
        assert "stale" in kinds(report)
        assert report.services[0].newest is None
        assert kinds(found(item, FRESH, known=[FRESH])) == []


@pytest.mark.parametrize("standing", [Standing.UNSIGNED, Standing.UNREADABLE, Standing.STRANGER, Standing.MISPLACED])
def test_archives_that_the_history_knows_and_nobody_signed_are_one_problem_that_says_what_to_type(
    standing: Standing,
) -> None:
    items = [not_proven(NOW - hours * HOUR, standing) for hours in (12, 36)]
    (problem,) = found(*items).problems
    assert (problem.kind, problem.event, problem.store) == ("unsigned", "failure", "near")
    assert problem.text == (
        "2 archives in near are not signed, so retention does not count them: type: drunner-vault archives near --adopt"
    )
    assert found(*items).notices == []
    late = [not_proven(NOW - 5 * DAY, standing)]
    assert sorted(kinds(found(*late))) == ["stale", "unsigned"]  # adopting it would not make it new


def test_a_run_of_the_history_is_as_good_as_a_line_of_the_log() -> None:
    item = not_proven(NOW - 12 * HOUR, Standing.UNSIGNED)
    run = replace(RUN, archive=f"/backups/{item.key}", bytes=item.size)
    assert HostMemory([run], []).lists(item)
    assert not HostMemory([replace(run, bytes=item.size + 1)], []).lists(item)
    assert not HostMemory([replace(run, archive=f"/backups/there/notes/{item.name}")], []).lists(item)
    assert not HostMemory([replace(run, task="copy")], []).lists(item)


def test_archives_with_this_hosts_key_that_its_history_does_not_know_are_a_problem() -> None:
    forged = archive(NOW - HOUR)
    (problem,) = found(FRESH, forged, known=[FRESH]).problems
    assert (problem.kind, problem.store) == ("key", "near")
    assert problem.text.startswith(f"1 archive in near, first {forged.key}, bears this host's key")
    assert "stolen" in problem.text


def test_an_archive_whose_digest_is_not_the_logged_one_is_not_known() -> None:
    ours, theirs = archive(NOW - HOUR, sha256="a" * 64), archive(NOW - HOUR, sha256="b" * 64)
    assert kinds(found(theirs, known=[ours])) == ["key"]
    assert found(ours, known=[ours]).healthy


@pytest.mark.parametrize("standing", [standing for standing in Standing if standing is not Standing.PROVEN])
def test_archives_of_others_are_a_notice_and_change_nothing_about_problems(standing: Standing) -> None:
    others = [not_proven(NOW - hours * HOUR, standing, signer="SHA256:other") for hours in (1, 2)]
    alone, report = found(FRESH), found(FRESH, *others, known=[FRESH])
    assert report.healthy
    assert report.services == alone.services
    told = {notice.kind: notice for notice in report.notices}
    assert (told["others"].store, told["others"].count, told["others"].bytes) == ("near", 2, 10)
    assert told["others"].text == (
        f"near: 2 archives in here/notes do not count (2 {standing.value}), 10 bytes; "
        "see: drunner-vault prune near --unsigned"
    )


def test_two_signers_in_one_directory_are_a_notice_that_names_both() -> None:
    other = SigningKey.generate().public()
    report = found(FRESH, archive(NOW - HOUR, series=other, signer=other.fingerprint), known=[FRESH])
    assert report.healthy
    (notice,) = report.notices
    assert notice.kind == "signers"
    assert notice.text.startswith("near: 2 keys have signed archives in here/notes: ")
    assert all(key.fingerprint in notice.text for key in (OWN, other))


def test_a_retired_key_of_the_same_series_is_no_second_signer() -> None:
    assert found(FRESH, archive(NOW - 3 * DAY, signer="SHA256:retired")).notices == []


def test_a_directory_in_which_nothing_is_deleted_is_a_notice_that_says_why() -> None:
    report = found(FRESH, frozen={("here", "notes"): "it holds what this program does not know: x"})
    assert report.healthy
    (notice,) = report.notices
    assert notice.kind == "frozen"
    assert notice.text == "near: nothing is deleted in here/notes: it holds what this program does not know: x"


def test_only_own_proven_archives_count_as_verified() -> None:
    job = replace(JOB, max_unverified=7 * 86400.0)
    old = archive(NOW - 9 * DAY)
    other = not_proven(NOW - 9 * DAY, Standing.STATED, verified=NOW)
    assert kinds(found(FRESH, old, other, job=job, known=[FRESH, old])) == ["unverified"]


def test_what_is_remembered_is_since_when_a_job_is_known_and_what_was_seen(tmp_path: Path) -> None:
    watch = Watch(tmp_path)
    watch.note("nightly", NOW, {("notes", "near"): NOW})
    watch.note("nightly", NOW + DAY, {("wiki", "far"): NOW})
    watch.note_all(["nightly", "weekly"], NOW + DAY, {("notes", "near"): NOW + DAY}, {"far"})
    known = watch.read()
    assert known.seen == {"nightly": NOW, "weekly": NOW + DAY}
    assert known.newest == {("notes", "near"): NOW + DAY, ("wiki", "far"): NOW}
    watch.note_all(["weekly"], NOW, {}, ())
    assert (dict(watch.read().newest), set(watch.read().seen)) == ({}, {"weekly"})
    (tmp_path / "watch.json").write_text('{"seen": {"a": 5}, "newest": [[1, 2], ["a", "b", "c"], 4]}')
    assert (watch.read().seen, watch.read().newest) == ({}, {})


def test_a_run_settles_what_it_shows_and_health_leaves_what_it_cannot_see(tmp_path: Path) -> None:
    with listening() as listener:
        channel = Channel("ops", ("failure", "stale", "recovery"), lambda: [listener.apprise()])
        audience, clock = Audience({"ops": channel}, {"nightly": ()}, "here"), Hands().clock
        history, alarms = History(tmp_path), Alarms(tmp_path, audience, clock)
        metrics = tmp_path / "vault.prom"
        site = Reporting(history, Watch(tmp_path), alarms, audience, metrics, frozenset(), clock, {})
        job = replace(JOB, services=("notes",), copy_to=("gone",))
        failed = replace(RUN, verdict=FAILED, why="no")
        history.add(failed)
        site.after_health(found(job=job, latest=[failed]))
        assert {alarm.problem.kind for alarm in alarms.raised()} == {"failed", "stale", "unreachable"}
        blind = found(job=replace(job, store="gone", copy_to=()), latest=[replace(failed, store="gone")])
        assert kinds(blind) == ["failed", "unreachable"]
        site.after_health(HealthReport(unseen={"near", "gone"}))
        assert {alarm.problem.kind for alarm in alarms.raised()} == {"stale"}
        history.add(RUN, replace(RUN, task="job", service="", verdict=DONE))
        site.after_run(job, JobReport(replace(RUN, task="job"), [RUN]))
        assert alarms.raised() == []
        lines = metrics.read_text().splitlines()
        assert 'drunner_vault_newest_archive_timestamp_seconds{service="notes",store="near"} 1772323200' in lines
        assert "drunner_vault_alarms 0" in lines
        assert len(listener.messages()) == 3


@pytest.mark.parametrize("kind", ["unsigned", "key"])
def test_what_was_found_in_a_store_is_not_over_because_the_store_cannot_be_read(tmp_path: Path, kind: str) -> None:
    audience, clock = Audience({}, {"nightly": ()}, "here"), Hands().clock
    alarms = Alarms(tmp_path, audience, clock)
    site = Reporting(History(tmp_path), Watch(tmp_path), alarms, audience, None, frozenset(), clock, {})
    items = {"unsigned": [not_proven(NOW - HOUR, Standing.UNSIGNED)], "key": [archive(NOW - HOUR)]}[kind]
    site.after_health(found(*items, known=[] if kind == "key" else items))
    assert {alarm.problem.kind for alarm in alarms.raised()} == {kind}
    site.after_health(HealthReport(unseen={"near"}))
    assert {alarm.problem.kind for alarm in alarms.raised()} == {kind}
    site.after_health(HealthReport())
    assert alarms.raised() == []


def test_who_is_named_no_more_is_not_waited_for(tmp_path: Path) -> None:
    def refuse() -> list[str]:
        raise BadUsage("no such file")

    def reporting(channels: Mapping[str, Channel]) -> Reporting:
        audience, clock = Audience(channels, {}, "here"), Hands().clock
        alarms = Alarms(tmp_path, audience, clock)
        return Reporting(History(tmp_path), Watch(tmp_path), alarms, audience, None, frozenset(), clock, {})

    site = reporting({"ops": Channel("ops", ("failure", "stale"), refuse)})
    assert site.after_health(found()) == ["notification ops: no such file"]
    assert [problem.text for problem in site.undelivered()] == ["notification ops could not be told of all alarms"]
    assert reporting({}).undelivered() == []
