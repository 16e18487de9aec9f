"""backup --all: every service of this host, each in a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.core import ParameterSource

from drunner_vault.cli.common import known_places
from drunner_vault.cli.output import Output, size

_NOT_PASSED_ON = ("all_services", "as_json", "service", "dest")


def back_up_all(context: click.Context, dest: str, *, as_json: bool) -> int:
    """Back up all services to a store or into a directory, with the options of `backup` that were given."""
    from drunner_vault import wiring
    from drunner_vault.errors import NoChange
    from drunner_vault.services.home import installed
    from drunner_vault.wiring import unattended
    from drunner_vault.wiring.settings import services_root

    if dest == "-" or not (known_places().is_store(dest) or dest.endswith("/") or Path(dest).is_dir()):
        raise click.UsageError("with --all, DEST is a store or a directory")
    wiring.require_root()
    names = [home.name for home in installed(services_root(os.environ))]
    if not names:
        raise NoChange("no service is installed")
    output = Output(as_json=as_json)
    commands = unattended.commands(os.environ)
    reports, failed = [], 0
    for name in names:
        try:
            ended = commands.call(["backup", name, dest, *_options(context)])
        except BaseException:
            commands.stop()
            raise
        reports.append({"service": name, "code": ended.code, "report": ended.result})
        failed += ended.code != 0
        for line in ended.log.splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        if ended.code == 0:
            output.done(f"{ended.result['archive']}: {size(ended.result['bytes'])}")
    output.document({"services": reports, "failed": failed})
    return 1 if failed else 0


def _options(context: click.Context) -> Iterator[str]:
    """The options that were given, as words."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _NOT_PASSED_ON or name not in context.params:
            continue
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value, option = context.params[name], max(parameter.opts, key=len)
        if isinstance(value, bool):
            yield option
        else:
            for item in value if isinstance(value, tuple) else (value,):
                yield from (option, str(item))
