"""The command line: one file per command, each parses, calls a workflow, and renders what it gives."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the program with this process's arguments. See `program.run`."""
    arguments = sys.argv[1:]
    if arguments in ([], ["-h"], ["--help"]):
        _show_overview()
    from drunner_vault.memory import collect_seldom

    collect_seldom()
    from drunner_vault.cli.program import run

    run(arguments)


def _show_overview() -> NoReturn:
    """What click would show, without the time that importing it takes."""
    from drunner_vault.cli.overview import overview

    try:
        columns = os.get_terminal_size().columns
    except OSError:
        columns = 80
    try:
        print(overview(columns), flush=True)
    except BrokenPipeError:
        os._exit(1)  # nobody reads on; Python would complain when it flushes
    sys.exit(0)
