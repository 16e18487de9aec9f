"""The system's ssh as a process of ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import IO

from drunner_vault.errors import BadUsage

_SAID = 8192  # bytes of the end of standard error


def start_ssh(command: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start it, connected with pipes, in a session of its own, so that Ctrl-C is ours to deal with. errors: a file for
    its standard error. Raises BadUsage if there is no ssh."""
    try:
        return subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    except OSError as cause:
        raise BadUsage(
            f"cannot start {command[0]}: {cause.strerror}", "install it: apt install openssh-client"
        ) from cause


def last_said(errors: IO[bytes]) -> str:
    """The end of what ssh has written to its standard error."""
    size = os.fstat(errors.fileno()).st_size
    return os.pread(errors.fileno(), _SAID, max(0, size - _SAID)).decode(errors="replace")
