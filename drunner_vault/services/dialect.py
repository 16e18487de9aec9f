"""Which hooks a service has, and what it calls them.

Three dialects were published, one after the other; all are one script, called as `servicerunner HOOK …`:

    first                   install, updatestart, updateend, backupstart, backupend, restore, destroy, enter, help
    uninstall/obliterate    the same, but two hooks instead of `destroy`
    start/end               X_start and X_end around each command; 127 means that the service has no use for the hook

A service is only ever called in its own dialect: scripts answer an unknown hook with their help text and an error.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from drunner_vault.services.servicecfg import ServiceConfig

NOT_IMPLEMENTED = 127  # the exit status of a start/end service for a hook it does not have


class Event(enum.Enum):
    """The moments at which a service is called. BACKUP_START, BACKUP_END and RESTORE pass a directory of the host."""

    INSTALL = "install"
    BACKUP_START = "backup start"
    BACKUP_END = "backup end"
    RESTORE = "restore"
    UPDATE_START = "update start"
    UPDATE_END = "update end"
    UNINSTALL = "uninstall"
    OBLITERATE = "obliterate"
    ENTER_START = "enter start"
    ENTER = "enter"
    HELP = "help"


@dataclass(frozen=True)
class Dialect:
    """One of the three ways to call a service.

    hooks: what each event is called; an event that is not there has no hook. reserved: commands that a person cannot
    give to the service directly, because they are hooks or commands of ours.
    """

    name: str
    hooks: Mapping[Event, str]
    reserved: frozenset[str]
    tolerates_missing: bool = False

    def hook(self, event: Event) -> str | None:
        """The first argument of servicerunner for this event, or None if this dialect has no hook for it."""
        return self.hooks.get(event)

    def succeeded(self, event: Event, code: int) -> bool:
        """Whether this exit status of the event's hook means that all is well (0, or not implemented)."""
        return code == 0 or self.not_implemented(event, code)

    def not_implemented(self, event: Event, code: int) -> bool:
        """Whether this exit status says that the service has no such hook, which is no error."""
        return self.tolerates_missing and code == NOT_IMPLEMENTED and event not in (Event.ENTER, Event.HELP)


_PLAIN = {
    Event.INSTALL: "install",
    Event.BACKUP_START: "backupstart",
    Event.BACKUP_END: "backupend",
    Event.RESTORE: "restore",
    Event.UPDATE_START: "updatestart",
    Event.UPDATE_END: "updateend",
    Event.ENTER: "enter",
    Event.HELP: "help",
}
_START_END = {
    Event.INSTALL: "install_end",
    Event.BACKUP_START: "backup_start",
    Event.BACKUP_END: "backup_end",
    Event.RESTORE: "restore_end",
    Event.UPDATE_START: "update_start",
    Event.UPDATE_END: "update_end",
    Event.UNINSTALL: "uninstall_start",
    Event.OBLITERATE: "obliterate_start",
    Event.ENTER_START: "enter_start",
    Event.ENTER: "enter",
    Event.HELP: "help",
}
_RESERVED = frozenset({"install", "backupstart", "backupend", "backup", "restore", "update", "enter"})
_REMOVALS = frozenset({"uninstall", "obliterate"})
# Hooks that start/end services may have and that nothing calls here: a command is the service's alone, so that its
# arguments, files and exit code pass through untouched.
_UNCALLED = frozenset({"status_start", "status_end", "servicecmd_start", "servicecmd_end"})

FIRST = Dialect(
    "first",
    MappingProxyType({**_PLAIN, Event.UNINSTALL: "destroy", Event.OBLITERATE: "destroy"}),
    _RESERVED | {"destroy"},
)
UNINSTALL_OBLITERATE = Dialect(
    "uninstall/obliterate",
    MappingProxyType({**_PLAIN, Event.UNINSTALL: "uninstall", Event.OBLITERATE: "obliterate"}),
    _RESERVED | _REMOVALS,
)
START_END = Dialect(
    "start/end",
    MappingProxyType(_START_END),
    _RESERVED | _REMOVALS | _UNCALLED | (frozenset(_START_END.values()) - {"help"}),
    tolerates_missing=True,
)

DIALECTS = MappingProxyType({dialect.name: dialect for dialect in (FIRST, UNINSTALL_OBLITERATE, START_END)})


def detect(config: ServiceConfig, servicerunner: bytes | str) -> Dialect:
    """The dialect of a service, from its settings and the text of its script.

    Start/end if the settings say VERSION=2 or the script calls isHook; first if it knows `destroy` and neither of the
    two hooks that replaced it; else uninstall/obliterate.
    """
    if isinstance(servicerunner, bytes):
        servicerunner = servicerunner.decode("utf-8", "replace")
    code = re.sub(r"(?m)^[ \t]*#.*$", "", servicerunner)
    if config.version >= 2 or re.search(r"\bisHook\b", code):
        return START_END
    labels = _labels(code)
    if "destroy" in labels and not labels & _REMOVALS:
        return FIRST
    return UNINSTALL_OBLITERATE


def _labels(code: str) -> set[str]:
    """The words before `)` that begin a line, as in the branches of a `case`: `uninstall)`, `"a" | b)`, `(c)`."""
    found: set[str] = set()
    for line in re.findall(r"(?m)^[ \t]*\(?[ \t]*([\w\"' \t|-]+)\)", code):
        found.update(word.strip(" \t\"'") for word in line.split("|"))
    return found


def is_one_script_per_command(names: Iterable[str]) -> bool:
    """Whether the files of an image's /drunner are of the time before servicerunner: a script for each command."""
    present = set(names)
    scripts = {"install", "destroy", "help", "backup", "restore", "enter", "update"}
    return "servicerunner" not in present and "install" in present and len(present & scripts) >= 3
