"""A journal of how to take back what a command has done so far. All or nothing rests on it.

Each step is written down, durably, before the thing itself is done; so whether a command fails, is interrupted, or is
killed without a word, what it made can be found and removed: by the command itself, or by the next one. Taking back
what was never done is always harmless.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from drunner_vault.durable import make_directory, replace_file, storage_error
from drunner_vault.engine.trees import Access
from drunner_vault.errors import StorageError, VaultError
from drunner_vault.services.dialect import Event
from drunner_vault.services.launcher import remove_launcher
from drunner_vault.workflows.host import ServiceHost

Step = dict[str, Any]


class Undo:
    """The journal of one command on one service, `ROOT/undo/NAME.json`."""

    def __init__(self, host: ServiceHost, service: str, doing: str = "") -> None:
        """doing: the command, as a person knows it."""
        self._host = host
        self._service = service
        self._path = host.root / "undo" / f"{service}.json"
        self._doing = doing
        self._steps: list[Step] = []
        self._at_commit: list[Step] = []

    def record(self, do: str, **arguments: Any) -> None:
        """Write down a step that will be taken back before all that were recorded earlier."""
        self._steps.append({"do": do, **arguments})
        self._write()

    def record_outermost(self, do: str, **arguments: Any) -> None:
        """Write down a step that will be taken back after all others."""
        self._steps.insert(0, {"do": do, **arguments})
        self._write()

    def replace_last(self, do: str, **arguments: Any) -> None:
        """The last step has gone further: this is how to take it back now."""
        self._steps[-1] = {"do": do, **arguments}
        self._write()

    def at_commit(self, do: str, **arguments: Any) -> None:
        """Write down what is to be done once the command has succeeded."""
        self._at_commit.append({"do": do, **arguments})

    def commit(self) -> None:
        """The command has succeeded: nothing will be taken back. What is to be tidied up takes the steps' place."""
        self._steps, self._at_commit = self._at_commit, []
        self._doing = f"tidying up after {self._doing}"
        if self._steps:
            self._write()
        for problem in self.roll_back():
            self._host.notice(f"{self._doing}: {problem}; the next command on {self._service} tries again")

    def roll_back(self) -> list[str]:
        """Take everything back, last first; returns what could not be, a line each. That stays in the journal."""
        failures: list[str] = []
        kept: list[Step] = []
        while self._steps:
            step = self._steps.pop()
            try:
                _ACTIONS[step["do"]](self._host, self._service, step)
            except (VaultError, OSError) as problem:
                failures.append(str(problem))
                kept.insert(0, step)
        self._steps = kept
        if kept:
            self._write()
        else:
            self._remove()
        return failures

    @staticmethod
    def unfinished(host: ServiceHost, service: str) -> Undo | None:
        """The journal that a killed command left behind, if there is one. Raises StorageError if it cannot be read."""
        path = host.root / "undo" / f"{service}.json"
        try:
            document = json.loads(path.read_bytes())
            undo = Undo(host, service, str(document["doing"]))
            undo._steps = list(document["steps"])
        except FileNotFoundError:
            return None
        except OSError as cause:
            raise storage_error("read", path, cause) from cause
        except (ValueError, KeyError, TypeError) as cause:
            raise StorageError(
                f"{path} is damaged, so what a killed command did to {service} cannot be taken back",
                f"see that {service} is well, then remove the file",
            ) from cause
        return undo

    def recorded(self, do: str) -> list[Step]:
        """The steps of this kind that would be taken back."""
        return [step for step in self._steps if step["do"] == do]

    @property
    def doing(self) -> str:
        """The command this is the journal of."""
        return self._doing

    def _write(self) -> None:
        try:
            make_directory(self._path.parent)
        except OSError as cause:
            raise storage_error("write", self._path, cause) from cause
        replace_file(self._path, json.dumps({"doing": self._doing, "steps": self._steps}).encode())

    def _remove(self) -> None:
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._path.parent.rmdir()


@contextlib.contextmanager
def all_or_nothing(host: ServiceHost, service: str, doing: str) -> Iterator[Undo]:
    """A journal for the block: committed if the block ends, rolled back if it raises anything at all."""
    undo = Undo(host, service, doing)
    try:
        yield undo
    except BaseException as failure:
        for problem in undo.roll_back():
            host.notice(f"could not be undone: {problem}")
            failure.add_note(problem)
        raise
    undo.commit()


def _remove_home(host: ServiceHost, service: str, step: Step) -> None:
    host.home(service).remove()


def _restore_home(host: ServiceHost, service: str, step: Step) -> None:
    """Put the earlier directory back. What is aside while there was no exchange yet is the new one: drop it."""
    home, aside = host.home(service), Path(step["aside"])
    if not aside.exists():
        return
    if home.exists() and aside.stat().st_ino == step["inode"]:
        home.discard(aside)
    else:
        home.put_back(aside)


def _discard_home(host: ServiceHost, service: str, step: Step) -> None:
    aside = Path(step["aside"])
    host.home(service).discard(aside if aside.exists() else None)


def _remove_launcher(host: ServiceHost, service: str, step: Step) -> None:
    remove_launcher(host.bin_dir, service)


def _remove_volume(host: ServiceHost, service: str, step: Step) -> None:
    """The command made this volume, so whatever uses it was made since, and goes with it."""
    for container in host.engine.containers.using([step["volume"]]):
        host.engine.containers.remove(container.id)
    host.engine.volumes.remove(step["volume"])


def _put_back_volume(host: ServiceHost, service: str, step: Step) -> None:
    for container in host.engine.containers.using([step["volume"]]):
        host.engine.containers.remove(container.id)
    volume = host.engine.volumes.get(step["volume"])
    host.engine.volumes.tree(volume, step["image"], Access(step["access"])).put_back(step["token"])


def _discard_aside(host: ServiceHost, service: str, step: Step) -> None:
    volume = host.engine.volumes.get(step["volume"])
    host.engine.volumes.tree(volume, step["image"], Access(step["access"])).discard(step["token"])


def _remove_image(host: ServiceHost, service: str, step: Step) -> None:
    host.engine.images.remove(step["image"])


def _tag_image(host: ServiceHost, service: str, step: Step) -> None:
    host.engine.images.tag(step["id"], step["image"])


def _call_hook(host: ServiceHost, service: str, step: Step) -> None:
    """A hook that tidies up. Its failure is told, and stops nothing."""
    home = host.home(service)
    if not home.exists():
        return
    try:
        host.call_hook(home, Event(step["event"]), *step.get("arguments", []))
    except VaultError as problem:
        host.notice(problem.message)


_ACTIONS: dict[str, Callable[[ServiceHost, str, Step], None]] = {
    "remove home": _remove_home,
    "restore home": _restore_home,
    "discard home": _discard_home,
    "remove launcher": _remove_launcher,
    "remove volume": _remove_volume,
    "put back volume": _put_back_volume,
    "discard aside": _discard_aside,
    "remove image": _remove_image,
    "tag image": _tag_image,
    "call hook": _call_hook,
}
