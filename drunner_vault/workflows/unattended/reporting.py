"""Telling whoever is to know what has become of a job: alarms, messages, a check's ping, metrics.

None of this fails a job. What could not be told is a complaint, a sentence each.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drunner_vault.alarms.metrics import Sample, write_metrics
from drunner_vault.alarms.notify import Tone
from drunner_vault.alarms.ping import Ping, ping
from drunner_vault.clock import Clock
from drunner_vault.config import JobSettings
from drunner_vault.errors import Interrupted, StorageError, VaultError
from drunner_vault.workflows.unattended.alarms import SUCCESS, Alarms, Audience, Problem, channel_of
from drunner_vault.workflows.unattended.health import HealthReport, failures
from drunner_vault.workflows.unattended.history import DONE, FAILED, PARTIAL, History, Run, new_run
from drunner_vault.workflows.unattended.jobs import JOB, JobReport
from drunner_vault.workflows.unattended.watch import Watch

_OF_A_STORE = ("stale", "unverified", "damaged", "unsigned", "key")  # what only a look into the store can end


@dataclass(frozen=True)
class Reporting:
    """How this host tells. metrics: the file for Prometheus, if there is to be one. kept: the stores whose retention is
    set. environment: where secrets may be."""

    history: History
    watch: Watch
    alarms: Alarms
    audience: Audience
    metrics: Path | None
    kept: frozenset[str]
    clock: Clock
    environment: Mapping[str, str]

    def ping(self, job: JobSettings, event: Ping, log: Sequence[str] = ()) -> list[str]:
        """Tell the job's check, if it has one."""
        if job.ping is None:
            return []
        try:
            urls = job.ping.value(self.environment)
        except VaultError as error:
            return [error.message]
        return [problem for url in urls if (problem := ping(url, event, "\n".join(log)))]

    def after_run(self, job: JobSettings, report: JobReport) -> list[str]:
        """Tell of a job that has ended."""
        backed_up = {(run.service, run.store): run.begun for run in report.runs if run.task == "backup" and run.ok}
        complaints = self.ping(job, Ping.SUCCESS if report.ok else Ping.FAIL, report.log)
        runs = {run.key: run for run in (*report.runs, report.whole)}
        with _said(complaints):
            runs = {run.key: run for run in self.history.latest()} | runs  # which it may lack, if the disk is full
        found = failures(job, list(runs.values()), self.kept, None)
        if report.unwritten:
            found.append(Problem("failed", f"the history lacks runs of job {job.name}: {report.unwritten}", job.name))
        with _said(complaints):
            self.watch.note(job.name, self.clock.now(), backed_up)
        with _said(complaints):
            complaints += self.alarms.settle(found, lambda problem: _settled_by(problem, job, backed_up))
        if report.ok:
            complaints += self._tell_success(job, report)
        return complaints + self.write_metrics()

    def after_fault_of(self, job: JobSettings, error: VaultError) -> list[str]:
        """Tell of what has kept a job from being done at all."""
        complaints = self.ping(job, Ping.FAIL, [f"error: {error.message}"])
        if isinstance(error, Interrupted):
            return complaints  # who stops us need not wait; health tells of it
        problem = Problem("failed", f"job {job.name} failed: {error.message}", job.name, JOB, "", job.store)
        with _said(complaints):  # else the next look at the history would take it for over
            if not any(run.job == job.name and run.why == error.message for run in self.history.runs()[-1:]):
                run = new_run(self.clock, job.name, JOB, "", job.store)
                self.history.add(replace(run, verdict=FAILED, why=error.message))
        with _said(complaints):
            complaints += self.alarms.settle([problem], lambda _problem: False)
        return complaints

    def after_health(self, report: HealthReport) -> list[str]:
        """Tell of all that was found. What cannot be seen now may be as it was."""

        def concerns(problem: Problem) -> bool:
            hidden = problem.kind in _OF_A_STORE and problem.store in report.unseen
            return not hidden

        newest = {
            (item.service, item.store): dt.datetime.fromisoformat(item.newest)
            for item in report.services
            if item.newest
        }
        complaints: list[str] = []
        with _said(complaints):
            self.watch.note_all(self.audience.jobs, self.clock.now(), newest, report.unseen)
        with _said(complaints):
            complaints += self.alarms.settle(report.problems, concerns)
        return complaints + self.write_metrics()

    def after_fault(self, report: HealthReport) -> list[str]:
        """Tell of settings that make no sense. All else may be as it was."""
        try:
            return self.alarms.settle(report.problems, lambda problem: problem.kind == "settings")
        except StorageError as error:
            return [error.message]

    def raised(self) -> frozenset[str]:
        """The keys of the problems that alarms were raised for."""
        try:
            return frozenset(alarm.problem.key for alarm in self.alarms.raised())
        except StorageError:  # then all is news
            return frozenset()

    def undelivered(self) -> list[Problem]:
        """The messages that nobody got, as problems: whoever waits for them takes silence for well-being."""
        try:
            owed = {channel_of(to) for alarm in self.alarms.all() for to in alarm.owed}
        except StorageError as error:
            return [Problem("undelivered", error.message)]
        waiting = sorted(owed & set(self.audience.channels))
        return [Problem("undelivered", f"notification {name} could not be told of all alarms") for name in waiting]

    def write_metrics(self) -> list[str]:
        """Write the file for Prometheus, if there is to be one."""
        if self.metrics is None:
            return []
        try:
            write_metrics(self.metrics, self._samples())
        except StorageError as error:
            return [error.message]
        return []

    def _tell_success(self, job: JobSettings, report: JobReport) -> list[str]:
        lines = [describe(run) for run in report.runs]
        names = self.audience.names(job.name, SUCCESS)
        return [
            problem
            for name in names
            for problem in self.audience.tell(name, f"job {job.name} is done", lines or ["nothing to do"], Tone.GOOD)
        ]

    def _samples(self) -> Iterator[Sample]:
        last_good: dict[tuple[str, str, str, str], Run] = {}
        for run in self.history.runs():
            if _did_all(run):
                last_good[run.key] = run
        for run in self.history.latest():
            if run.job and run.job not in self.audience.jobs:
                continue  # the settings have it no more
            yield from _of_last(run)
            if good := last_good.get(run.key):
                yield from _of_last_good(good)
        for (service, store), moment in sorted(self.watch.read().newest.items()):
            labels = {"service": service, "store": store}
            yield Sample("newest_archive_timestamp_seconds", labels, moment.timestamp())
        yield Sample("alarms", {}, len(self.alarms.raised()))
        yield Sample("written_timestamp_seconds", {}, self.clock.now().timestamp())


@contextlib.contextmanager
def _said(complaints: list[str]) -> Iterator[None]:
    """What cannot be written down here is a complaint, and keeps nothing else from being told."""
    try:
        yield
    except StorageError as error:
        complaints.append(error.message)


def describe(run: Run) -> str:
    """A run in a line, for people."""
    what = f"job {run.job}" if run.task == JOB else f"{run.task} of {run.service or run.store}"
    where = f" in {run.store}" if run.task in ("prune", "copy") else ""
    why = f": {run.why}" if run.why else ""
    return f"{what}{where}: {run.verdict} in {run.seconds:.1f} s{why}"


def _settled_by(problem: Problem, job: JobSettings, backed_up: Mapping[tuple[str, str], dt.datetime]) -> bool:
    """Whether a run of this job shows that a problem is no more, if it was not found."""
    if problem.kind in ("failed", "never"):
        return problem.job == job.name
    if problem.kind in ("stale", "damaged"):
        return (problem.service, problem.store) in backed_up
    return problem.kind == "unreachable" and problem.store in {store for _, store in backed_up}


def _did_all(run: Run) -> bool:
    return run.verdict == DONE or (run.verdict == PARTIAL and run.task != JOB)


def _labels(run: Run) -> dict[str, str]:
    # Prometheus itself uses the label `job`
    return {"vault_job": run.job, "task": run.task, "service": run.service, "store": run.store}


def _of_last(run: Run) -> Iterator[Sample]:
    labels = _labels(run)
    yield Sample("last_run_timestamp_seconds", labels, run.begun.timestamp())
    yield Sample("last_run_success", labels, float(_did_all(run)))
    yield Sample("last_run_duration_seconds", labels, run.seconds)


def _of_last_good(run: Run) -> Iterator[Sample]:
    labels = _labels(run)
    yield Sample("last_success_timestamp_seconds", labels, run.begun.timestamp())
    if run.task == "backup":
        yield Sample("last_archive_bytes", labels, run.bytes)
        yield Sample("last_archive_content_bytes", labels, run.content)
        yield Sample("last_archive_paused_seconds", labels, run.paused)
