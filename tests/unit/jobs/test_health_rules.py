"""What health finds wrong, and what not, from settings, history and archives alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.catalogs import DAY, HOUR, NOW, Hands
from support.listeners import listening

from drunner_vault.catalog.catalog import Archive
from drunner_vault.clock import isoformat
from drunner_vault.config import JobSettings
from drunner_vault.errors import BadUsage, Unavailable
from drunner_vault.policy import parse_schedule
from drunner_vault.workflows.unattended.alarms import Alarms, Audience, Channel
from drunner_vault.workflows.unattended.health import HealthContext, HealthReport, WatchedJob, examine
from drunner_vault.workflows.unattended.history import DONE, FAILED, History, Run
from drunner_vault.workflows.unattended.jobs import JobReport
from drunner_vault.workflows.unattended.reporting import Reporting
from drunner_vault.workflows.unattended.watch import Watch

JOB = JobSettings("nightly", "vault.toml, line 1", services=("notes",), store="near", schedule="@daily")
RUN = Run("x", "nightly", "backup", "notes", "near", isoformat(NOW - 12 * HOUR))
LONG_AGO = NOW - 100 * DAY


def archive(created: dt.datetime, **facts: object) -> Archive:
    item = Archive("k", "n", "here", "notes", created, created, 5)
    return replace(item, **facts)  # type: ignore[arg-type]


def found(
    *archives: Archive,
    job: JobSettings = JOB,
    latest: Sequence[Run] = (RUN,),
    installed: Mapping[str, dt.datetime | None] | None = None,
    first_seen: dt.datetime = LONG_AGO,
    running: frozenset[str] = frozenset(),
) -> HealthReport:
    """What is wrong with a host that has these archives in the store `near`, and none in `far`; `gone` is gone."""

    def look(store: str) -> list[Archive]:
        if store == "gone":
            raise Unavailable("no route to gone")
        return list(archives) if store == "near" else []

    watched = WatchedJob(job, parse_schedule(job.schedule) if job.schedule else None, dt.UTC, first_seen)
    services = {"notes": LONG_AGO, "wiki": LONG_AGO} if installed is None else installed
    started = {run.job: run.begun for run in latest}
    return examine([watched], HealthContext(NOW, services, latest, started, running, look, frozenset({"near"})))


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
        site.after_health(HealthReport([], [], {"near", "gone"}))
        assert {alarm.problem.kind for alarm in alarms.raised()} == {"stale"}
        history.add(RUN, replace(RUN, task="job", service="", verdict=DONE))
        site.after_run(job, JobReport(replace(RUN, task="job"), [RUN]))
        assert alarms.raised() == []
        lines = metrics.read_text().splitlines()
        assert 'drunner_vault_newest_archive_timestamp_seconds{service="notes",store="near"} 1772323200' in lines
        assert "drunner_vault_alarms 0" in lines
        assert len(listener.messages()) == 3


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
