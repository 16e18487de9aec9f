"""The tables [jobs.NAME] and [notifications.NAME]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drunner_vault.config.secret import Secret, read_secret
from drunner_vault.config.tables import Table
from drunner_vault.config.values import LONG, NO_LIMIT, SHORT, parse_rate
from drunner_vault.errors import BadUsage

TASKS = ("backup", "verify", "drill", "rehearse")
EVENTS = ("failure", "recovery", "stale", "success")
IMAGES = ("auto", "always", "never")
_HIGHEST_LEVEL, _MOST_THREADS, _MOST_AT_ONCE = 19, 256, 64


@dataclass(frozen=True)
class JobSettings:
    """A table [jobs.NAME]: what `run NAME` does, and when it is to be done.

    where: file and line, for errors. services, exclude: names or shell patterns. store, copy_to: names of [stores].
    recipients: instead of the top-level ones. schedule: five fields or @daily; empty: by hand only. timezone: instead
    of the top-level one. jitter: seconds. max_age, max_unverified: seconds that the newest archive may be old, or
    unverified; None: by the schedule, and not watched. notify: names of [notifications]; empty: all of them. ping: the
    base URL of a check as Healthchecks has them. images, level, threads, bandwidth_limit, background, allow_partial: as
    the options of `backup`. lines: file and line of each key that is set.
    """

    name: str
    where: str
    task: str = "backup"
    services: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    store: str = ""
    copy_to: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    schedule: str = ""
    timezone: str = ""
    jitter: float = 0.0
    catch_up: bool = True
    at_once: int = 1
    prune: bool = True
    images: str = "auto"
    level: int = 3
    threads: int = 0
    bandwidth_limit: str = ""
    background: bool = True
    allow_partial: bool = False
    identity_files: tuple[str, ...] = ()
    max_age: float | None = None
    max_unverified: float | None = None
    notify: tuple[str, ...] = ()
    ping: Secret | None = None
    lines: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def bandwidth(self) -> int:
        """bandwidth_limit in bytes a second; 0 for no limit."""
        return parse_rate(self.bandwidth_limit or NO_LIMIT)

    def where_of(self, key: str) -> str:
        """File and line of a key, or of the table if that key is not set."""
        return self.lines.get(key, self.where)


@dataclass(frozen=True)
class NotificationSettings:
    """A table [notifications.NAME]: whom to tell. urls: as Apprise has them. on: what is worth telling."""

    name: str
    where: str
    urls: Secret
    on: tuple[str, ...] = ("failure", "recovery", "stale")


def read_job(table: Table) -> JobSettings:
    """The job of a table."""
    table.allow(*JOB_KEYS)
    _check_rate(table)
    if not table.texts("services", ("*",)):
        table.refuse("services is empty", 'services = ["*"] takes all of them', "services")
    return JobSettings(
        name=table.place[-1],
        where=table.where(),
        task=table.choice("task", "backup", TASKS),
        services=table.texts("services", ("*",)),
        exclude=table.texts("exclude"),
        store=table.text("store"),
        copy_to=table.texts("copy_to"),
        recipients=table.texts("recipients"),
        schedule=table.text("schedule", "").strip(),
        timezone=table.text("timezone", ""),
        jitter=table.length("jitter", 0.0, SHORT),
        catch_up=table.truth("catch_up", True),
        at_once=table.number("at_once", 1, 1, _MOST_AT_ONCE),
        prune=table.truth("prune", True),
        images=table.choice("images", "auto", IMAGES),
        level=table.number("level", 3, 1, _HIGHEST_LEVEL),
        threads=table.number("threads", 0, 0, _MOST_THREADS),
        bandwidth_limit=table.text("bandwidth_limit", ""),
        background=table.truth("background", True),
        allow_partial=table.truth("allow_partial", False),
        identity_files=table.paths("identity_files"),
        max_age=table.length("max_age", None, LONG),
        max_unverified=table.length("max_unverified", None, LONG),
        notify=table.texts("notify"),
        ping=_read_ping(table),
        lines={key: table.where(key) for key in table.keys},
    )


JOB_KEYS = (
    "task", "services", "exclude", "store", "copy_to", "recipients", "schedule", "timezone", "jitter", "catch_up",
    "at_once", "prune", "images", "level", "threads", "bandwidth_limit", "background", "allow_partial",
    "identity_files", "max_age", "max_unverified", "notify", "ping", "ping_file", "ping_env",
)  # fmt: skip


def read_notification(table: Table) -> NotificationSettings:
    """The notification of a table."""
    table.allow("urls", "urls_file", "urls_env", "on")
    urls = read_secret(table, "urls")
    if urls is None:
        table.refuse("urls is missing", 'urls = ["mailto://…"], urls_file = "/…" or urls_env = "…"')
    return NotificationSettings(
        name=table.place[-1],
        where=table.where(),
        urls=urls or Secret(table.where()),
        on=table.choices("on", ("failure", "recovery", "stale"), EVENTS),
    )


def _read_ping(table: Table) -> Secret | None:
    found = read_secret(table, "ping")
    if found is not None and any(not line.startswith(("https://", "http://")) for line in found.lines):
        table.refuse("ping is no URL", 'write it as in ping = "https://hc-ping.com/…"', "ping")
    return found


def _check_rate(table: Table) -> None:
    try:
        parse_rate(table.text("bandwidth_limit", "") or NO_LIMIT)
    except BadUsage as problem:
        table.refuse(f"bandwidth_limit: {problem.message}", problem.hint, "bandwidth_limit")
