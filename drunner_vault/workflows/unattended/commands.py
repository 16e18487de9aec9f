"""Commands of this program that others of its commands give: each in a process of its own.

So one that crashes, or takes all the memory there is, takes nobody along; each undoes itself when it is stopped; and
several can run at once, each with a terminal for its hooks.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drunner_vault.errors import Interrupted

_ERROR, _HINT = "error: ", "hint: "


@dataclass(frozen=True)
class Ended:
    """How a command ended. code: its exit code; -N if signal N killed it. result: the last document it printed; None
    without one. log: what it said on standard error."""

    code: int
    result: Any = None
    log: str = ""

    @property
    def why(self) -> str:
        """Why it failed, in a line."""
        if self.code < 0:
            return f"it was killed by {signal.Signals(-self.code).name}"
        errors = [line.removeprefix(_ERROR) for line in self.log.splitlines() if line.startswith(_ERROR)]
        return "; ".join(errors) or f"it ended with exit code {self.code}"

    @property
    def hint(self) -> str:
        """What to do next, in a line; empty if nothing is known to help."""
        found = (line.removeprefix(_HINT) for line in self.log.splitlines() if line.startswith(_HINT))
        return "; ".join(dict.fromkeys(found))


class Commands:
    """Gives commands. program: what starts this program. environment: for all of them."""

    def __init__(self, program: Sequence[str], environment: Mapping[str, str]) -> None:
        self._program = tuple(program)
        self._environment = dict(environment)
        self._lock = threading.Lock()
        self._alive: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def call(self, arguments: Sequence[str]) -> Ended:
        """Give a command with --json, and wait for its end. May be called by several threads. Raises Interrupted once
        `stop` has been called."""
        process = self._start([*self._program, *arguments, "--json"])
        try:
            out, said = process.communicate()
        finally:
            with self._lock:
                self._alive.discard(process)
        return Ended(process.returncode, _last_document(out), said.decode("utf-8", "replace"))

    def stop(self) -> None:
        """Have all that are under way stop, and undo what they have begun; no further one is started."""
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.terminate()

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Interrupted("stopped before it was begun")
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            self._alive.add(process)
        return process


def _last_document(out: bytes) -> Any:
    """The last JSON document of several; None if there is none."""
    text, decoder, found, at = out.decode("utf-8", "replace"), json.JSONDecoder(), None, 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            found, at = decoder.raw_decode(text, at)
        except ValueError:
            return found
    return found
