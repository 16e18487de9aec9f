"""Every command with a line on what it does, in the order of the help text. A command is a module `NAME_command` here.

The lines stand here so that the overview need not import what does the work.
"""

from __future__ import annotations

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
    "Archives": {
        "archives": "List the archives in a store.",
        "inspect": "Say what an archive is.",
        "ls": "List the files in an archive.",
        "extract": "Take files out of an archive.",
        "diff": "Show what differs between archives, or from a live service.",
        "verify": "Prove that an archive is as it was written.",
        "salvage": "Make a whole archive of what survives in a damaged one.",
        "copy": "Copy archives to another store.",
        "prune": "Delete archives that retention does not keep.",
        "store": "Try what a store promises.",
    },
    "Keys": {
        "key": "Make keys, and say whom to trust.",
    },
}
