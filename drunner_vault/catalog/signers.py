"""Whose signatures count for which host when something is decided without opening archives.

A signature counts for a host if a line of allowed signers names that host alone, or if it was made with this machine's
own key. Lines with patterns are good for opening archives only. A retired key (`valid-before`) counts for what appeared
in the store before it was retired, by the store's clock; never by a time that a document states.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from drunner_vault.signing import AllowedSigner, SignerKey


@dataclass(frozen=True)
class HostSigners:
    """The keys that this machine accepts for each host.

    lines: of allowed signers. own: this machine's key, None if it has none. own_host: its name. now: by which keys are
    retired.
    """

    lines: Sequence[AllowedSigner]
    own: SignerKey | None
    own_host: str
    now: dt.datetime

    def accepts(self, key: SignerKey, host: str, *appeared: dt.datetime) -> bool:
        """Return True if signatures by the key count for a host.

        appeared: when the objects concerned appeared in the store, by the store's clock.
        """
        if key == self.own:
            return True
        lines = self._lines(key, host)
        return bool(lines) and all(self._in_force(line, appeared) for line in lines)

    def is_current(self, key: SignerKey, host: str) -> bool:
        """Return True if the key counts for the host and is not retired."""
        if key == self.own:
            return True
        lines = self._lines(key, host)
        return bool(lines) and not any(self._is_retired(line) for line in lines)

    def knows(self, host: str) -> bool:
        """Return True if any key counts for the host."""
        return (host == self.own_host and self.own is not None) or any(line.names(host) for line in self.lines)

    def is_own(self, key: SignerKey, host: str) -> bool:
        """Return True if archives of the host with this series key are this machine's own."""
        return host == self.own_host and self.own is not None and key == self.own

    def series(self, key: SignerKey, host: str) -> SignerKey:
        """Return the key whose series an archive belongs to that this key has signed.

        Keys of a host that are retired, or will be, belong to the series of its only key that is not.
        """
        if key == self.own or not any(line.valid_before for line in self._lines(key, host)):
            return key
        lasting = {key for key in self.current(host) if not any(line.valid_before for line in self._lines(key, host))}
        return next(iter(lasting)) if len(lasting) == 1 else key

    def current(self, host: str) -> set[SignerKey]:
        """Return the keys of a host that are not retired."""
        found = {line.key for line in self.lines if line.names(host) and self.is_current(line.key, host)}
        return found | ({self.own} if self.own is not None and host == self.own_host else set())

    def _lines(self, key: SignerKey, host: str) -> list[AllowedSigner]:
        return [line for line in self.lines if line.key == key and line.names(host)]

    def _is_retired(self, line: AllowedSigner) -> bool:
        return line.valid_before is not None and line.valid_before <= self.now

    def _in_force(self, line: AllowedSigner, appeared: Sequence[dt.datetime]) -> bool:
        """Without a retirement nothing depends on when something appeared: clocks of stores and hosts differ."""
        return not self._is_retired(line) or all(line.is_valid(moment) for moment in appeared)
