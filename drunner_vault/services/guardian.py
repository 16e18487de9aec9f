"""A small process beside a backup, which resumes the service should the backup end without a word; see `paused`.

What that takes is longer to import than most services are paused for. So it is left until the backup has taken a while:
then it is there, whatever becomes of this program's files meanwhile.
"""

from __future__ import annotations

import select
import signal
import sys

DONE = b"done"
_A_WHILE = 10.0  # seconds


def main(root: str, name: str, owner: str) -> None:
    """Wait for the end of standard input, and resume the service if that comes without DONE. owner: the process id of
    whoever paused the service."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)  # not ignored: the hook would inherit that
    ended, _, _ = select.select([sys.stdin], [], [], _A_WHILE)
    if ended and sys.stdin.buffer.read() == DONE:
        return
    from pathlib import Path

    from drunner_vault.services.paused import guard

    if ended or sys.stdin.buffer.read() != DONE:
        guard(Path(root), name, int(owner))


if __name__ == "__main__":
    main(*sys.argv[1:])
