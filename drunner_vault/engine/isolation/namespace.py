"""A network for the scripts of a service that is drilled: with nothing in it but the ports that the service publishes.

A script that asks `localhost:8080` whether its service is well would otherwise ask the live one, and one that tells
others of its installation would tell them of a drill. So scripts run in a network namespace of their own
(network_namespaces(7)), where we listen on the ports that containers of the drill publish, and connect whoever calls to
the container. In their mount namespace the drill's socket lies over the engine's, for those who heed no DOCKER_HOST.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from drunner_vault.engine.isolation.streams import both_ways, end

Result = TypeVar("Result")
_CLONE_NEWNET = 0x40000000  # unshare(2)
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCSIFADDR, _IFF_UP = 0x8913, 0x8914, 0x8916, 1  # netdevice(7)
_CONNECT = 10  # seconds
_TRIAL = 30  # seconds that an empty script may take
_ENTER = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Target:
    """A port of a container. process: one that is in it; address: its own."""

    process: int
    address: str
    port: int


Find = Callable[[int], Target | None]
"""What stands behind a published port; None while nothing does."""


class Namespace:
    """Exists inside a `with` block. addresses: of this host, by which scripts may call their service."""

    def __init__(self, addresses: Sequence[str], find: Find) -> None:
        self._addresses = tuple(addresses)
        self._find = find
        self._fd = -1
        self._lock = threading.Lock()
        self._listeners: dict[int, socket.socket] = {}
        self._connections: set[socket.socket] = set()

    def __enter__(self) -> Namespace:
        """Raises OSError where the kernel does not allow it."""
        _in_thread(self._make)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            open_now = [*self._listeners.values(), *self._connections]
            for item in open_now:
                end(item)
            for listener in self._listeners.values():
                listener.close()
            self._listeners.clear()
        if self._fd >= 0:
            os.close(self._fd)

    def prefix(self, proxy: Path, engine: Path) -> tuple[str, ...]:
        """What starts a program in here: its command line without the program. Empty if the tools are missing, or are
        not allowed to."""
        tools = [shutil.which(name) for name in ("nsenter", "unshare")]
        if None in tools:
            return ()
        nsenter, unshare = map(str, tools)
        command = (
            *(nsenter, f"--net=/proc/{os.getpid()}/fd/{self._fd}", "--"),
            *(unshare, "--mount", "--propagation", "private", "--"),
            *("/bin/sh", "-c", _ENTER, "sh", str(proxy), str(engine.resolve())),
        )
        try:
            done = subprocess.run([*command, "/bin/true"], capture_output=True, timeout=_TRIAL, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ()
        return command if done.returncode == 0 else ()

    def publish(self, port: int) -> None:
        """Listen on a TCP port in here."""
        with self._lock:
            if port in self._listeners:
                return
            listener = _in_thread(lambda: self._listen(port))
            self._listeners[port] = listener
        threading.Thread(target=self._accept, args=(port, listener), name="drill-port", daemon=True).start()

    def _make(self) -> None:
        _call("unshare", _CLONE_NEWNET)
        self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            flags = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
            up = struct.unpack_from("16sh", flags)[1] | _IFF_UP
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", up))
            for number, address in enumerate(self._addresses):
                with contextlib.suppress(OSError):  # no address of IPv4: then it is only not to be had by that
                    name = f"lo:{number + 1}".encode()
                    request = struct.pack("16sHH4s8x", name, socket.AF_INET, 0, socket.inet_aton(address))
                    fcntl.ioctl(control, _SIOCSIFADDR, request)

    def _listen(self, port: int) -> socket.socket:
        _call("setns", self._fd, _CLONE_NEWNET)
        both = socket.has_dualstack_ipv6()
        return socket.create_server(
            ("::" if both else "", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        )

    def _accept(self, port: int, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the drill is over
                return
            threading.Thread(target=self._connect, args=(port, client), name="drill-port", daemon=True).start()

    def _connect(self, port: int, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            target = self._find(port)
            if target is None:
                return
            with _in_thread(lambda: _reach(target)) as container:
                with self._lock:
                    self._connections |= {client, container}
                try:
                    both_ways(client, container)
                finally:
                    with self._lock:
                        self._connections -= {client, container}


def _in_thread(work: Callable[[], Result]) -> Result:
    """What `work` gives in a thread of its own, which may change its namespaces: they end with it. Raises OSError."""
    results: list[Result] = []
    failures: list[OSError] = []

    def run() -> None:
        try:
            results.append(work())
        except OSError as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="drill-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def _reach(target: Target) -> socket.socket:
    """A connection to a container from inside of it: nobody else can reach it."""
    space = os.open(f"/proc/{target.process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("setns", space, _CLONE_NEWNET)
    finally:
        os.close(space)
    connection = socket.create_connection((target.address, target.port), timeout=_CONNECT)
    connection.settimeout(None)
    return connection


def _call(name: str, *arguments: int) -> None:
    """A function of the C library that tells success by 0. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
