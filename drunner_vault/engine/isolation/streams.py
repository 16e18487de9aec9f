"""Bytes between two sockets, in both directions at once."""

from __future__ import annotations

import contextlib
import socket
import threading

_PIECE = 1 << 16


def both_ways(client: socket.socket, server: socket.socket) -> None:
    """Until the server ends the connection. The client's direction may end earlier, as that of standard input does."""
    sending = threading.Thread(target=_pump, args=(client, server), name="drill-up", daemon=True)
    sending.start()
    _pump(server, client)
    end(client)
    end(server)
    sending.join()


def end(connection: socket.socket) -> None:
    """Nothing goes through it any more; whoever waits for something wakes up."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    """All that comes, and then the end of it."""
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
