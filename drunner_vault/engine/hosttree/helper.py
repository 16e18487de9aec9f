"""Starting a process to read or make many small files, and seeing it end."""

from __future__ import annotations

import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from drunner_vault.engine.hosttree.channel import READY, Channel

_PACKAGES = Path(__file__).resolve().parents[3]
_START = "import sys; sys.path.append(sys.argv[1]); from {0} import main; main(int(sys.argv[2]))"
_END_SECONDS = 30


class Helper(Channel):
    """The channel to a process of its own, which runs a module's `main`, with the descriptor of its end.

    It sees the standard library and this package only, and ends when the channel is closed. purpose: what it does, for
    the error if it ends too early. Whoever uses it asks `ready` first, and does the work itself if it is not.
    """

    def __init__(self, module: str, purpose: str) -> None:
        ours, theirs = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        with theirs, contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START.format(module), str(_PACKAGES), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt of the terminal is ours to handle
            )
        super().__init__(ours)
        self._purpose = purpose

    def ready(self) -> bool:
        """Whether it has started, which is waited for. It may not: for want of room, or of a Python to run it."""
        try:
            return self.hear()[0] == READY
        except (EOFError, OSError):
            return False

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """What is done in here needs the other side. Raises OSError if it has ended too early."""
        try:
            yield
        except (EOFError, ConnectionError) as cause:
            reason = f"the process that {self._purpose} ended with {self._wait()}"
            raise OSError(errno.EPIPE, reason, b"") from cause

    def close(self) -> None:
        """Close the channel, and see the process end."""
        super().close()
        self._wait()

    def _wait(self) -> int | None:
        if self._process is None:
            return None
        try:
            return self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
