"""config: the settings of this host."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drunner_vault.cli.common import common_options
from drunner_vault.cli.output import Output, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drunner_vault.config import JobSettings, Settings, StoreSettings

_NOT_SHOWN = ("name", "where", "lines")
_LENGTHS = ("jitter", "max_age", "max_unverified")


@click.group(epilog="Example: drunner-vault config check")
def command() -> None:
    """Check the settings of this host, vault.toml, and show them."""


@command.command("check", epilog="Example: drunner-vault config check --online")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--online", is_flag=True, help="Also ask every store whether it can be reached.")
@common_options
def check(file: Path | None, online: bool, as_json: bool) -> int:
    """Say everything that is wrong with vault.toml: unknown settings, impossible schedules, files that cannot be read.

    With FILE, it is checked in place of vault.toml, before it becomes that. Nothing is written and nobody is notified.
    Exits 1 if something is wrong. That others may read a file with secrets is no error: it is said at a terminal, and
    with --json.
    """
    from drunner_vault import wiring
    from drunner_vault.wiring.checking import exposed_secrets, settings_problems

    output = Output(as_json=as_json)
    problems = settings_problems(os.environ, online=online, file=file)
    path = file or wiring.config_directory(os.environ) / "vault.toml"
    found = [{"message": problem.message, "hint": problem.hint} for problem in problems]
    exposed = [] if problems else exposed_secrets(os.environ, file)
    output.document({"file": str(path), "ok": not problems, "problems": found, "exposed": exposed})
    for problem in problems:
        print(f"error: {one_line(problem.message)}\nhint: {one_line(problem.hint)}", file=sys.stderr)
    if not problems:
        output.done(f"{path} is well" if path.exists() else f"there is no {path}; everything has its default")
    for notice in exposed:
        output.note(notice)
    return 1 if problems else 0


@command.command("show", epilog="Example: drunner-vault config show --json")
@common_options
def show(as_json: bool) -> None:
    """Show the settings as they are in force: with all defaults, and without any secret."""
    from drunner_vault import wiring

    output = Output(as_json=as_json)
    known = wiring.settings(os.environ)
    document = _document(known)
    output.document({"file": str(wiring.config_directory(os.environ) / "vault.toml"), **document})
    for line in _lines((), document):
        output.text(one_line(line))


def _document(known: Settings) -> dict[str, Any]:
    stores = {
        name: {"url": _without_password(store.url), **_options(store), "retention": dict(store.retention)}
        for name, store in known.stores.items()
    }
    return {
        "recipients": list(known.recipients),
        "signers": list(known.signers),
        "timezone": known.timezone,
        "environment_file": known.environment_file,
        "metrics": known.metrics,
        "stores": stores,
        "jobs": {name: _job(job) for name, job in known.jobs.items()},
        "notifications": {
            name: {"urls": f"({item.urls.describe()})", "on": list(item.on)}
            for name, item in known.notifications.items()
        },
    }


def _without_password(url: str) -> str:
    """A URL that has no business to have one."""
    return re.sub(r"(//[^/@:]*):(?!\d+(?:/|$)).*@", r"\1:(hidden)@", url)


def _options(store: StoreSettings) -> dict[str, str]:
    """What is no option of ours may be anything, also a secret."""
    from drunner_vault.stores.address import OPTIONS

    known = {name for names in OPTIONS.values() for name in names}
    return {name: value if name in known else "(hidden)" for name, value in store.options.items()}


def _job(job: JobSettings) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for item in fields(job):
        value = getattr(job, item.name)
        if item.name not in _NOT_SHOWN:
            shown[item.name] = _plain(item.name, value)
    return shown | {"ping": f"({job.ping.describe()})" if job.ping else None}


def _plain(name: str, value: Any) -> Any:
    from drunner_vault.config import format_length

    if name in _LENGTHS and value is not None:
        return format_length(value)
    return list(value) if isinstance(value, tuple) else value


def _lines(place: tuple[str, ...], table: Mapping[str, Any]) -> list[str]:
    """As a TOML file would have it; what is not set is left out."""
    values = {key: value for key, value in table.items() if not isinstance(value, dict) and value not in (None, "", [])}
    lines = ["", f"[{'.'.join(place)}]"] if values and place else []
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _lines((*place, key), value)
    return lines
