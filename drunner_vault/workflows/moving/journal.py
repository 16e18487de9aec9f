"""What a migration writes down just before its last word, for the command that is given again after a crash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drunner_vault.errors import StorageError
from drunner_vault.hoststate.state import DIRECTORY, State
from drunner_vault.services.home import ServiceHome


@dataclass(frozen=True)
class Attempt:
    """What is written down just before the last word. installed: when the service was installed here, so that another
    of its name is not taken for it. kept: the other side has it, and it is to be removed here."""

    transfer: str
    host: str
    called: str
    installed: str
    kept: bool = False


class Journal:
    """`ROOT/vault/migrate-NAME.json`."""

    def __init__(self, home: ServiceHome) -> None:
        self.path: Path = home.root / DIRECTORY / f"migrate-{home.name}.json"
        self._home = home
        self._state = State(self.path)

    def read(self) -> Attempt | None:
        """What an earlier command has left of the service that is here, or was. Raises StorageError if it makes no
        sense."""
        found = self._state.read()
        try:
            attempt = Attempt(**found) if found else None
        except TypeError as cause:
            raise StorageError(
                f"{self.path} is damaged", "see where the service lives, then remove the file"
            ) from cause
        if attempt is not None and self._home.exists() and attempt.installed != self._installed():
            return None
        return attempt

    def write(self, transfer: str, host: str, called: str, *, kept: bool = False) -> None:
        self._state.write(vars(Attempt(transfer, host, called, self._installed(), kept)))

    def _installed(self) -> str:
        record = self._home.record()
        return record.installed if record else ""

    def forget(self) -> None:
        self._state.remove()
