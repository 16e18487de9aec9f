"""Doing what a job of the settings says, to each of its services independently.

    names and patterns → services → steps of each, several services at once → history

A step is a command of this program. A backup's further steps are copies, and when all went well, pruning; what goes
wrong with those is said, but the backup is done all the same.
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from drunner_vault.clock import Clock
from drunner_vault.config import JobSettings
from drunner_vault.errors import StorageError, VaultError
from drunner_vault.workflows.unattended.commands import Commands, Ended
from drunner_vault.workflows.unattended.history import DONE, FAILED, PARTIAL, History, Run, new_run

JOB = "job"  # the task of the line in the history that speaks of the job as a whole
_NOTHING_TO_DO = 3
_GLOB = frozenset("*?[")


@dataclass
class JobReport:
    """What a job did. whole: of it all. runs: of each step, in the order in which they ended. log: what was said.
    unwritten: why the history lacks some of it; empty if it does not."""

    whole: Run
    runs: list[Run] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    unwritten: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was done."""
        return self.whole.verdict == DONE and not self.unwritten


@dataclass(frozen=True)
class JobContext:
    """What a job works with. installed: the services of this host. kept: the stores of which the settings say what is
    kept in them. host: its name. told: of each step when it has ended, and what to do about it if that
    is known."""

    commands: Commands
    history: History
    clock: Clock
    host: str
    installed: Sequence[str]
    kept: frozenset[str]
    told: Callable[[Run, str], None]


def select(job: JobSettings, known: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    """The services that a job means, by name, and what is wrong with what it says, a sentence each. what: what names
    that are not known are not. Pure."""
    chosen: set[str] = set()
    problems: list[str] = []
    for pattern in job.services:
        if _GLOB.isdisjoint(pattern):
            found = [pattern] if pattern in known else []
            missing = f"{pattern} is not {what}"
        else:
            found = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
            missing = f"no service that is {what} matches {pattern}"
        chosen.update(found)
        problems += [] if found else [missing]
    left = sorted(name for name in chosen if not any(fnmatch.fnmatchcase(name, out) for out in job.exclude))
    if not left and not problems:
        problems.append(f"all services that are {what} are excluded")
    return left, problems


def run_job(job: JobSettings, context: JobContext) -> JobReport:
    """Do all that a job says. Each service is independent of the others; what fails is in the report.

    Whoever calls holds the job's lock. Raises Interrupted, when all that was begun has been undone.
    """
    started = context.clock.monotonic()
    report = JobReport(new_run(context.clock, job.name, JOB, "", job.store))
    with context.history.underway(report.whole):
        try:
            work, problems = _TASKS[job.task](job, context)
            report.log += [f"error: {problem}" for problem in problems]
            _do_all(work, job.at_once, context, report)
        except VaultError as error:
            context.history.add(replace(report.whole, verdict=FAILED, why=error.message))
            raise
        report.whole = _summed_up(report, problems, round(context.clock.monotonic() - started, 3))
        _noted(report, lambda: context.history.add(report.whole))
    return report


Work = Callable[["_Steps"], None]
"""All that is to be done to one service."""


def _do_all(work: Sequence[Work], at_once: int, context: JobContext, report: JobReport) -> None:
    def do(item: Work) -> None:
        item(_Steps(context, report))

    with ThreadPoolExecutor(at_once, "job") as pool:
        waiting = [pool.submit(do, item) for item in work]
        try:
            for future in waiting:
                future.result()
        except BaseException:
            for future in waiting:
                future.cancel()
            context.commands.stop()
            raise


def _summed_up(report: JobReport, problems: Sequence[str], seconds: float) -> Run:
    failed = sorted({run.service or run.store for run in report.runs if not run.ok})
    if problems:
        return replace(report.whole, seconds=seconds, verdict=FAILED, why="; ".join(problems))
    if failed:
        return replace(report.whole, seconds=seconds, verdict=PARTIAL, why=f"not all went well: {', '.join(failed)}")
    return replace(report.whole, seconds=seconds)


@dataclass
class _Steps:
    """The steps of one service."""

    context: JobContext
    report: JobReport

    def do(self, job: JobSettings, task: str, service: str, store: str, command: Sequence[str]) -> bool:
        """Take one step; whether it went well."""
        run = new_run(self.context.clock, job.name, task, service, store)
        started = self.context.clock.monotonic()
        with contextlib.ExitStack() as marked:
            _noted(self.report, lambda: marked.enter_context(self.context.history.underway(run)))
            ended = self.context.commands.call(command)
            seconds = round(self.context.clock.monotonic() - started, 3)
            run = _judged(replace(run, seconds=seconds), ended)
            _noted(self.report, lambda: self.context.history.add(run))
        self.report.runs.append(run)
        self.report.log += [f"{task} of {service or store}: {run.verdict}", *ended.log.splitlines()]
        self.context.told(run, ended.hint)
        return run.ok


def _noted(report: JobReport, note: Callable[[], object]) -> None:
    """Write something down if that is possible: a full disk must not keep anything from being backed up."""
    try:
        note()
    except StorageError as error:
        report.log.append(f"error: {error.message}")
        report.unwritten = error.message


def _judged(run: Run, ended: Ended) -> Run:
    """The run, as it ended."""
    result = ended.result if isinstance(ended.result, dict) else {}
    run = replace(run, **_facts(result))
    if ended.code not in (0, _NOTHING_TO_DO):
        return replace(run, verdict=FAILED, why=ended.why)
    count = result.get("problem_count", 0)
    if run.task == "backup" and count:
        return replace(run, verdict=PARTIAL, why=f"{count} files are not as they were")
    return run


_FACTS: Mapping[str, tuple[type, ...]] = {
    "archive": (str,), "bytes": (int,), "content": (int,), "paused": (int, float), "archive_id": (str,),
    "sha256": (str,), "etag": (str,),
}  # fmt: skip


def _facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a report of ours says that is worth keeping."""
    found = {name: result[name] for name, kinds in _FACTS.items() if isinstance(result.get(name), kinds)}
    seconds = result.get("seconds")
    if isinstance(seconds, (int, float)) and seconds > 0 and "content" in found:
        found["rate"] = int(found["content"] / seconds)
    return found


def _backups(job: JobSettings, context: JobContext) -> tuple[list[Work], list[str]]:
    services, problems = select(job, context.installed, "installed")
    return [_backup_of(job, service, context) for service in services], problems


def _backup_of(job: JobSettings, service: str, context: JobContext) -> Work:
    def work(steps: _Steps) -> None:
        if not steps.do(job, "backup", service, job.store, _backup_command(job, service)):
            return
        good = [job.store]
        for target in job.copy_to:
            command = ["copy", job.store, target, "--service", service, "--host", context.host]
            if steps.do(job, "copy", service, target, command):
                good.append(target)
        for store in good if job.prune else ():
            if store in context.kept:
                command = ["prune", store, "--service", service, "--host", context.host, "--apply"]
                steps.do(job, "prune", service, store, command)

    return work


def _backup_command(job: JobSettings, service: str) -> list[str]:
    command = ["backup", service, job.store, "--images", job.images]
    command += ["--level", str(job.level), "--threads", str(job.threads)]
    command += ["--bandwidth-limit", job.bandwidth_limit] if job.bandwidth_limit else []
    command += ["--background"] if job.background else []
    command += ["--allow-partial"] if job.allow_partial else []
    return command + [word for recipient in job.recipients for word in ("-r", recipient)]


def _checks(job: JobSettings, context: JobContext) -> tuple[list[Work], list[str]]:
    """verify, drill, rehearse: the newest archive of each service of this host in the store; of all hosts, where this
    one has none there. Archives that no accepted key has signed are only tried where there are no others."""
    listed = context.commands.call(["archives", job.store])
    if listed.code != 0:
        return [], [f"the archives in {job.store} cannot be listed: {listed.why}"]
    items = [item for item in listed.result or () if not item.get("missing")]
    accepted = [item for item in items if item.get("standing") in ("proven", "stated")]
    groups = sorted({(str(item["host"]), str(item["service"])) for item in accepted or items})
    own = [group for group in groups if group[0] == context.host] or groups
    services, problems = select(job, sorted({service for _, service in own}), f"in {job.store}")
    return [_check_of(job, host, service) for host, service in own if service in services], problems


def _check_of(job: JobSettings, host: str, service: str) -> Work:
    if job.task == "rehearse":
        command = ["key", "rehearse", job.store, "--service", service, *(("--host", host) if host else ())]
    else:
        command = [job.task, "/".join(filter(None, (job.store, host, service, "latest")))]
    command += _identities(job)
    if job.task == "verify" and not job.identity_files:
        command.append("--no-key")

    def work(steps: _Steps) -> None:
        steps.do(job, job.task, service, job.store, command)

    return work


def _identities(job: JobSettings) -> Iterator[str]:
    for path in job.identity_files:
        yield from ("-i", path)


Plan = Callable[[JobSettings, JobContext], tuple[list[Work], list[str]]]
_TASKS: Mapping[str, Plan] = {"backup": _backups, "verify": _checks, "drill": _checks, "rehearse": _checks}


def tasks_of(job: JobSettings, kept: frozenset[str]) -> set[tuple[str, str]]:
    """The task and store of each step that this job takes, for telling them from those of its former settings."""
    found = {(JOB, job.store), (job.task, job.store)}
    if job.task == "backup":
        found |= {("copy", store) for store in job.copy_to}
        found |= {("prune", store) for store in (job.store, *job.copy_to) if job.prune and store in kept}
    return found
