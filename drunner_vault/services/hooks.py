"""Running a service's own script.

A hook always has a terminal, since scripts use `docker run -i -t`, which refuses to work without one. With a person at
the terminal, it is theirs. Without one (cron, a pipe) it is a pseudo-terminal of our own, at which nobody types:
whatever reads from it is handed an end of file, so that a hook that asks a question fails instead of waiting for ever.

The pseudo-terminal becomes the hook's controlling terminal by being opened first thing in a new session (tty_ioctl(4),
"Controlling terminal"). If this program is killed it hangs up, and the hook with it. So a process that a hook leaves
behind in the background is hung up too when the hook ends, unless it left the session.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from drunner_vault.errors import HookFailed

TAIL_BYTES = 64 * 1024
SECRETS = ("PASS", "DRUNNER_PASSPHRASE", "DRUNNER_PASSPHRASE_FILE")

_COLUMNS, _ROWS = 80, 24
_FIRST_EOF, _NEXT_EOF = 0.2, 1.0  # seconds: until the first end of file is handed out, and between further ones
_TICK = 0.05  # seconds between looks at whether the hook has ended
_DRAIN = 0.5  # seconds: at most this long is output collected that processes left behind by the hook still write
_CHUNK = 16 * 1024
_LINE = 1024  # bytes of feed at a time; the terminal takes 4095 in one line
_END_OF_FILE = b"\x04"  # the VEOF character, ^D
_OWN_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # as a shell has them
_ENTER_DIRECTORY = 'cd -- "$1" || exit; shift; exec "$@"'


@dataclass(frozen=True)
class HookResult:
    """How a hook ended.

    code: its exit status, 128 + N when signal N killed it. output: the end of what it printed, at most 64 KiB, as text
    with plain line ends; empty when it printed to a person's terminal.
    """

    code: int
    output: str = ""


def hook_environment(environ: Mapping[str, str], path_dirs: Sequence[os.PathLike[str] | str] = ()) -> dict[str, str]:
    """The environment for a hook: the caller's, without passphrases, and with `path_dirs` first in PATH."""
    kept = {name: value for name, value in environ.items() if name not in SECRETS}
    kept["PATH"] = os.pathsep.join([*(str(path) for path in path_dirs), environ.get("PATH") or os.defpath])
    return kept


def run_hook(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    terminal: bool | None = None,
    relay: BinaryIO | None = None,
    feed: BinaryIO | None = None,
    grace: float = 5.0,
    prefix: Sequence[str] = (),
    timeout: float | None = None,
) -> HookResult:
    """Run a script with a terminal until it ends.

    argv: the script's path and its arguments. cwd: its working directory, ours unless given. terminal: True gives it
    ours, its output going to our standard error; False a pseudo-terminal; None decides by whether our standard input
    and standard error are terminals. With a pseudo-terminal, relay gets all output as it comes, and feed is read and
    typed, before the end of file. prefix: a program and its arguments, which is to start the script. timeout: seconds
    that it may take.

    An exception meanwhile (Ctrl-C, a signal's) ends the hook: SIGINT to its process group, SIGTERM after `grace`
    seconds, SIGKILL after as many more; then it is raised again. Raises HookFailed if the script cannot be started, or
    has not ended in time.
    """
    command = [*prefix, *_runnable(argv)]
    if cwd is not None:
        command = ["/bin/sh", "-c", _ENTER_DIRECTORY, "sh", str(cwd), *command]
    if terminal is None:
        terminal = feed is None and os.isatty(0) and os.isatty(2)
    try:
        if terminal:
            return _run_on_our_terminal(command, env, grace, timeout)
        return _run_on_pseudo_terminal(command, env, relay, feed, grace, timeout)
    except subprocess.TimeoutExpired as cause:
        hook = argv[1] if len(argv) > 1 else ""
        raise HookFailed(
            f"{' '.join(argv[:2])} has not ended in {cause.timeout:g} seconds",
            "see what it waits for, or give it more time",
            hook=hook,
            code=124,
        ) from cause


def pass_through(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become the service's script, with our directory and open files; its exit code is then ours.

    Raises HookFailed if it cannot be started.
    """
    command = _runnable(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these, and the script would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(command[0], command, dict(env))  # noqa: S606 - not a child: the script takes our place
    except OSError as cause:
        raise _cannot_start(argv, cause.strerror or str(cause)) from cause


def run_help(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Let the service print its help on our own files. Whatever its exit status, asking for help succeeds."""
    sys.stdout.flush()
    sys.stderr.flush()
    subprocess.run(_runnable(argv), env=dict(env), check=False)


def _cannot_start(argv: Sequence[str], reason: str) -> HookFailed:
    hook = argv[1] if len(argv) > 1 else ""
    return HookFailed(
        f"cannot run {argv[0]}: {reason}",
        "check the script, or rebuild it from its image: drunner recover SERVICE",
        hook=hook,
        code=126,
    )


def _runnable(argv: Sequence[str]) -> list[str]:
    """The command as the kernel takes it: a script without `#!` is given to bash, as bash itself does.

    Raises HookFailed if the file or its interpreter is missing: an exit status of 127 could otherwise be taken for a
    hook that the service does not implement.
    """
    path = shutil.which(argv[0])
    if path is None:
        raise _cannot_start(argv, "it is missing, or not executable")
    try:
        with Path(path).open("rb") as script:
            start = script.readline(256)
    except PermissionError:  # can be run but not read: then it is no script
        start = b"\x7fELF"
    command = [path, *argv[1:]]
    if start.startswith(b"\x7fELF"):
        return command
    if not start.startswith(b"#!"):
        return ["/bin/bash", *command]
    interpreter = os.fsdecode(start[2:]).split()
    if not interpreter or shutil.which(interpreter[0]) is None:
        raise _cannot_start(argv, f"its first line asks for {' '.join(interpreter)!r}, which is not on this host")
    return command


def _run_on_our_terminal(command: list[str], env: Mapping[str, str], grace: float, timeout: float | None) -> HookResult:
    child = subprocess.Popen(command, env=dict(env), stdout=2)
    try:
        child.wait(timeout)
    except BaseException:
        _stop(child.send_signal, lambda: child.poll() is not None, grace)
        child.wait()
        raise
    return HookResult(_shell_code(child.returncode))


def _run_on_pseudo_terminal(
    command: list[str],
    env: Mapping[str, str],
    relay: BinaryIO | None,
    feed: BinaryIO | None,
    grace: float,
    timeout: float | None,
) -> HookResult:
    with _pseudo_terminal() as (master, slave):
        child = _spawn(command, env, os.ttyname(slave))
        with _ending(child) as ending:
            session = _Session(master, slave, child, ending, relay, feed)
            try:
                session.run(timeout)
            except BaseException:
                session.quiet()
                _stop(lambda number: _signal_group(child, number), session.step, grace)
                session.wait()
                raise
        return HookResult(_shell_code(session.code or 0), session.text())


@contextlib.contextmanager
def _ending(child: int) -> Iterator[int | None]:
    """A descriptor that can be read when the child has ended; None where there are none (Linux before 5.3)."""
    try:
        fd = os.pidfd_open(child)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _pseudo_terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a new terminal of 80 by 24, which neither echoes what is typed nor adds carriage returns."""
    master, slave = os.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        modes = termios.tcgetattr(slave)
        modes[1] &= ~termios.ONLCR
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        os.set_blocking(master, False)
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


def _spawn(command: list[str], env: Mapping[str, str], terminal: str) -> int:
    """Start the command in a session of its own, whose controlling terminal is `terminal`; returns its process id."""
    files = [(os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0)]
    copies = [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
    try:
        return os.posix_spawn(
            command[0],
            command,
            dict(env),
            file_actions=[*files, *copies],
            setsid=True,
            setsigmask=(),
            setsigdef=_OWN_SIGNALS,
        )
    except OSError as cause:
        raise _cannot_start(command, cause.strerror or str(cause)) from cause


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _stop(send: Callable[[int], None], ended: Callable[[], bool], grace: float) -> None:
    """Ask a process to end, ever more firmly; a second Ctrl-C meanwhile kills it at once."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            send(number)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline:
                if ended():
                    return
                time.sleep(_TICK)
    finally:
        if not ended():
            send(signal.SIGKILL)


def _shell_code(code: int) -> int:
    """A status as shells tell it: 128 + N for a process that signal N killed."""
    return code if code >= 0 else 128 - code


class _Session:
    """A hook on its pseudo-terminal: collects what it prints, and types for it.

    We keep the hook's end of the terminal open as well. So reading never fails with EIO, however often the hook's
    processes close and reopen theirs, and we can see whether what was typed has been read.
    """

    def __init__(
        self, master: int, slave: int, child: int, ending: int | None, relay: BinaryIO | None, feed: BinaryIO | None
    ) -> None:
        """ending: a descriptor that can be read when the child has ended, where the kernel has such."""
        self.code: int | None = None
        self._ending = ending
        self._master = master
        self._slave = slave
        self._child = child
        self._relay = relay
        self._feed = feed
        self._line_ended = True
        self._typed = b""  # read from feed, not yet accepted by the terminal
        self._tail = bytearray()
        self._next_eof = time.monotonic() + _FIRST_EOF

    def run(self, timeout: float | None = None) -> None:
        """Until the hook itself has ended; processes it left behind are not waited for. Raises TimeoutExpired."""
        last = None if timeout is None else time.monotonic() + timeout
        while not self._ended():
            if timeout is not None and last is not None and time.monotonic() > last:
                raise subprocess.TimeoutExpired("hook", timeout)
            self._wait_for_something()
            self._collect()
            self._type()
        deadline = time.monotonic() + _DRAIN
        while self._collect() and time.monotonic() < deadline:
            pass

    def step(self) -> bool:
        """Take what there is to take, and tell whether the hook has ended."""
        self._collect()
        return self._ended()

    def wait(self) -> None:
        while not self.step():
            time.sleep(_TICK)

    def quiet(self) -> None:
        """From here on nobody listens, and nothing is typed."""
        self._relay = None
        self._feed = None

    def text(self) -> str:
        return self._tail.decode("utf-8", "replace").replace("\r\n", "\n")

    def _ended(self) -> bool:
        if self.code is None:
            done, status = os.waitpid(self._child, os.WNOHANG)
            if done:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code is not None

    def _wait_for_something(self) -> None:
        poll = select.poll()
        if self._ending is not None:
            poll.register(self._ending, select.POLLIN)
        poll.register(self._master, select.POLLIN | (select.POLLOUT if self._typed else 0))
        if self._feed is not None and not self._typed:
            poll.register(self._feed.fileno(), select.POLLIN)
        poll.poll(_TICK * 1000)

    def _collect(self) -> bool:
        """Take one piece of output, if there is any."""
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return False
        self._tail += data
        del self._tail[:-TAIL_BYTES]
        if self._relay is not None:
            try:
                self._relay.write(data)
                self._relay.flush()
            except BrokenPipeError:
                self._relay = None  # whoever listened has gone; the hook has work to finish all the same
        return True

    def _type(self) -> None:
        """Pass on what was fed, then an end of file whenever the last one was taken. Never waits for the terminal."""
        if self._feed is not None and not self._typed:
            self._read_feed(self._feed)
        if self._typed:
            self._typed = self._typed[self._write(self._typed) :]
        elif self._feed is None and time.monotonic() >= self._next_eof and not self._pending():
            self._write(_END_OF_FILE)
            self._next_eof = time.monotonic() + _NEXT_EOF

    def _read_feed(self, feed: BinaryIO) -> None:
        if not _readable(feed.fileno()):
            return
        data = os.read(feed.fileno(), _LINE)
        if not data:
            self._feed = None
            data = b"" if self._line_ended else b"\n"  # within a line, an end of file would not be taken for one
        self._line_ended = data.endswith(b"\n") or not data
        self._typed = data

    def _write(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def _pending(self) -> bool:
        """Whether something typed is still unread, be it only an end of file."""
        return _readable(self._slave)


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
