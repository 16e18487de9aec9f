"""The settings in vault.toml: parsed, checked, with messages that name the file and the line."""

from __future__ import annotations

import contextlib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from drunner_vault.config.jobs import JobSettings, NotificationSettings, read_job, read_notification
from drunner_vault.config.lines import lines_of
from drunner_vault.config.tables import Report, Table, raise_it, suggestion
from drunner_vault.errors import BadUsage

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KINDS = {"stores": "a store", "jobs": "a job", "notifications": "a notification"}
_TOML = "mend the file; it is TOML"
TOP_KEYS = ("recipients", "signers", "timezone", "environment_file", "metrics", *_KINDS)
Item = TypeVar("Item")


@dataclass(frozen=True)
class StoreSettings:
    """A table [stores.NAME]. options: as in its URL, as texts. retention: as it stands in [stores.NAME.retention], to
    be checked by whoever knows its rules. where: file and line, for errors. lines: those of each key that is set."""

    url: str
    options: Mapping[str, str]
    retention: Mapping[str, str | int]
    where: str
    lines: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def where_of(self, key: str) -> str:
        """File and line of an option, of `url`, or of a rule of retention; of the table if that is not set."""
        return self.lines.get(key, self.where)


@dataclass(frozen=True)
class Settings:
    """What vault.toml says.

    recipients: whom backups are encrypted to where nothing else is said. signers: whom to trust, lines as `key trust`
    takes them. timezone: whose days, weeks and months retention counts in, and schedules go by; empty for this host's
    own. stores, jobs, notifications: by name. metrics: the path of a file for Prometheus; empty for none.
    environment_file: KEY=VALUE lines that every command finds in its environment. lines: file and line of each key.
    """

    recipients: tuple[str, ...] = ()
    signers: tuple[str, ...] = ()
    timezone: str = ""
    stores: Mapping[str, StoreSettings] = field(default_factory=dict)
    jobs: Mapping[str, JobSettings] = field(default_factory=dict)
    notifications: Mapping[str, NotificationSettings] = field(default_factory=dict)
    metrics: str = ""
    environment_file: str = ""
    lines: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def timezone_where(self) -> str:
        """File and line of the time zone, for errors."""
        return self.where_of("timezone")

    def where_of(self, key: str) -> str:
        """File and line of a top-level key, for errors; empty if it is not set."""
        return self.lines.get(key, "")

    def job(self, name: str) -> JobSettings:
        """The job of this name. Raises BadUsage if there is none."""
        if name not in self.jobs:
            raise BadUsage(f"there is no job {name} in the settings", suggestion(name, tuple(self.jobs)))
        return self.jobs[name]


def read_settings(path: Path, report: Report = raise_it) -> Settings:
    """This host's settings; the defaults if there is no such file.

    Raises BadUsage for the first thing that makes no sense; or `report` is told of all of them, and what made none has
    its default.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark first, which is none of TOML's
        document = tomllib.loads(text)
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as cause:
        line = cause.object.count(b"\n", 0, cause.start) + 1
        raise BadUsage(
            f"cannot read the settings in {path}, line {line}: this is no UTF-8 text", "save the file as UTF-8"
        ) from cause
    except tomllib.TOMLDecodeError as cause:
        where, what = _placed(cause)
        raise BadUsage(f"cannot read the settings in {path}{where}: {what}", _TOML) from cause
    except (OSError, ValueError) as cause:
        raise BadUsage(f"cannot read the settings in {path}: {cause}", _TOML) from cause
    top = Table(path, lines_of(text), (), document, report)
    top.allow(*TOP_KEYS)
    known = Settings(
        recipients=top.texts("recipients"),
        signers=top.texts("signers"),
        timezone=top.text("timezone", ""),
        stores=_named(top, "stores", _store),
        jobs=_named(top, "jobs", read_job),
        notifications=_named(top, "notifications", read_notification),
        metrics=top.path("metrics"),
        environment_file=top.path("environment_file"),
        lines={key: top.where(key) for key in top.keys},
    )
    _check_references(known, report)
    return known


def read_listeners(path: Path) -> Settings:
    """What can be had of settings that are no TOML as a whole: who is to be told of that, and the environment file.
    Parts that can be read are; what is in the others is left out."""
    document: dict[str, Any] = {"notifications": {}}
    with contextlib.suppress(OSError):
        for part in re.split(r"(?m)^(?=[ \t]*\[)", path.read_text(encoding="utf-8-sig", errors="replace")):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                found = tomllib.loads(part)
                document |= {key: value for key, value in found.items() if key == "environment_file"}
                document["notifications"] |= _table_in(found, "notifications")
    top = Table(path, {}, (), document, lambda _problem: None)
    return Settings(
        notifications=_named(top, "notifications", read_notification), environment_file=top.path("environment_file")
    )


def _table_in(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _named(top: Table, key: str, read: Callable[[Table], Item]) -> dict[str, Item]:
    """The tables [KEY.NAME]."""
    tables = top.table(key)
    for name in tables.keys:
        if not _NAME.fullmatch(name):
            tables.table(name).refuse(
                f"{name} cannot be the name of {_KINDS[key]}", "use small letters, digits, - and _; 64 at most"
            )
    return {name: read(tables.table(name)) for name in tables.keys}


def _store(table: Table) -> StoreSettings:
    retention = table.table("retention")
    if table.raw("url") == "":
        table.refuse("url is empty", 'url = "/backups", "s3://bucket/prefix" or "ssh://host/path"', "url")
    return StoreSettings(
        url=table.text("url"),
        options={key: table.scalar(key) for key in table.keys if key not in ("url", "retention")},
        retention={key: retention.number_or_text(key) for key in retention.keys},
        where=table.where(),
        lines={key: part.where(key) for part in (table, retention) for key in part.keys},
    )


def _placed(cause: tomllib.TOMLDecodeError) -> tuple[str, str]:
    """The line at which a text is no TOML, as all problems of settings name it, and why."""
    found = re.fullmatch(r"(.*) \(at (line \d+), column \d+\)", str(cause))
    return (f", {found[2]}", found[1]) if found else ("", str(cause))


def _check_references(known: Settings, report: Report) -> None:
    """What one table says of another must be there."""
    for job in known.jobs.values():
        named = [("store", job.store), *(("copy_to", name) for name in job.copy_to)]
        for key, name in named:
            if name and name not in known.stores:
                hint = suggestion(name, tuple(known.stores))
                report(BadUsage(f"{job.where_of(key)}: there is no store {name} in the settings", hint))
        if job.store and job.store in job.copy_to:
            report(BadUsage(f"{job.where_of('copy_to')}: {job.store} is the job's own store", "leave it out"))
        for name in job.notify:
            if name not in known.notifications:
                hint = suggestion(name, tuple(known.notifications))
                report(BadUsage(f"{job.where_of('notify')}: there is no notification {name} in the settings", hint))
