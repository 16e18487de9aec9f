"""Every command with a line on what it does, in the order of the help text. A command is a module `NAME_command` here.

The lines stand here so that the overview need not import what does the work; nor click, which takes longer than all
else about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

WIDEST = 110  # columns
ABOUT = """Install, use, back up and restore services that run in Docker.

An image that carries /drunner/servicerunner and /drunner/servicecfg.sh is a service. A backup is one portable file, \
which also opens with plain age, zstd and tar."""
EXAMPLE = "Example: drunner-vault backup notes /backups/ -r age1…"
_OPTIONS = {"--version": "Show the version and exit.", "-h, --help": "Show this message and exit."}

SECTIONS = {
    "Services": {
        "checkimage": "Say whether an image makes a service.",
        "install": "Install a service from an image.",
        "update": "Bring a service up to date with its image.",
        "recover": "Install a service anew over the volumes it has.",
        "uninstall": "Remove a service and keep its volumes.",
        "obliterate": "Remove a service and all its data.",
        "enter": "Open a shell in a service.",
        "status": "Say what a service is made of, and whether anything is missing.",
        "list": "List the services that are installed.",
        "clean": "Remove unused images without a name, and leftovers.",
        "servicecmd": "Give a service one of its own commands.",
    },
    "Backup": {
        "backup": "Back up a service into one file, here or in a store.",
        "restore": "Restore a service from an archive.",
    },
    "Moving": {
        "migrate": "Bring a service to another host.",
        "rebuild": "Bring back all services of a host that is gone.",
    },
    "Archives": {
        "archives": "List the archives in a store.",
        "inspect": "Say what an archive is.",
        "ls": "List the files in an archive.",
        "extract": "Take files out of an archive.",
        "diff": "Show what differs between archives, or from a live service.",
        "drill": "Restore an archive apart, to see whether its service comes back.",
        "verify": "Prove that an archive is as it was written.",
        "salvage": "Make a whole archive of what survives in a damaged one.",
        "copy": "Copy archives to another store.",
        "prune": "Delete archives that retention does not keep.",
        "store": "Try what a store promises.",
    },
    "Unattended": {
        "schedule": "Have jobs started when the settings say.",
        "run": "Do what a job of the settings says.",
        "health": "Say whether backups are as they should be.",
        "history": "Show what was done on this host.",
    },
    "Settings": {
        "init": "Set this host up: settings, keys, and a store that is proven.",
        "config": "Check the settings, and show them.",
    },
    "Keys": {
        "key": "Make, print and try keys, and say whom to trust.",
    },
}

UNLISTED = ("receive",)  # for programs


def overview(columns: int) -> str:
    """The help text of the program as a whole, for a terminal of that width."""
    width = max(min(columns, WIDEST) - 2, 50)
    parts = ["Usage: drunner-vault [OPTIONS] [COMMAND] [ARGS]...\n"]
    parts += ["\n".join(_wrapped(paragraph, "  ", width)) + "\n" for paragraph in ABOUT.split("\n\n")]
    for title, lines in {"Options": _OPTIONS, **SECTIONS}.items():
        parts.append("\n".join([f"{title}:", *_table(lines, width)]) + "\n")
    return "\n".join([*parts, *_wrapped(EXAMPLE, "  ", width)])


def _table(lines: Mapping[str, str], width: int) -> Iterator[str]:
    first = max(map(len, lines)) + 2
    for name, text in lines.items():
        start, *rest = _wrapped(text, " " * (first + 2), width)
        yield f"  {name:{first}}{start.strip()}"
        yield from rest


def _wrapped(text: str, indent: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(indent) + len(line) + 1 + len(word) > width:
            yield indent + line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield indent + line
