"""Debian's cron, alone with a table of its own: in a mount and process namespace that ends with it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# What cron looks at is put in its place, for it alone. Below /run are its process id, and that it has seen a reboot.
_START = """
mount -t tmpfs none /run
mount --bind "$1" /etc/cron.d
mount --bind /dev/null /etc/crontab
mkdir /run/spool /run/spool/crontabs && mount --bind /run/spool /var/spool/cron
exec cron -f
"""


def missing_cron() -> str:
    """What is missing to run cron; empty if nothing is."""
    absent = [name for name in ("cron", "unshare") if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    return f"tests with cron need {' and '.join(absent)}" if absent else ""


@contextmanager
def cron(tables: Path, within: Sequence[str] = ()) -> Iterator[None]:
    """cron with the tables in a directory, while the block runs. To it, the machine has just been started. What it has
    started ends with it. within: what runs a command on the host where it is to be."""
    spaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*within, "unshare", *spaces, "sh", "-ec", _START, "sh", str(tables)]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=environment, text=True, **quiet)  # type: ignore[call-overload]
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"cron has ended: {process.stderr.read()}")
    finally:
        process.kill()
        process.communicate()
