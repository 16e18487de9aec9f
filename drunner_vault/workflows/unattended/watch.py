"""What has to be remembered to tell silence from well-being: since when a job is known, and what was last seen of
archives. In `ROOT/vault/watch.json`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drunner_vault.clock import isoformat
from drunner_vault.hoststate.state import State


@dataclass(frozen=True)
class Watched:
    """seen: when each job was first seen, by name. newest: when the newest good archive of a service in a store was
    made, by (service, store), as last seen."""

    seen: Mapping[str, dt.datetime] = field(default_factory=dict)
    newest: Mapping[tuple[str, str], dt.datetime] = field(default_factory=dict)


class Watch:
    """What is remembered. directory: `ROOT/vault`."""

    def __init__(self, directory: Path) -> None:
        self._state = State(directory / "watch.json")

    def read(self) -> Watched:
        """All of it. Raises StorageError."""
        found = self._state.read()
        newest = (item for item in found.get("newest", ()) if isinstance(item, list) and len(item) == 3)
        return Watched(
            {str(job): moment for job, text in found.get("seen", {}).items() if (moment := _moment(text))},
            {(str(service), str(store)): moment for service, store, text in newest if (moment := _moment(text))},
        )

    def note(self, job: str, now: dt.datetime, newest: Mapping[tuple[str, str], dt.datetime]) -> None:
        """Remember that this job was seen, and these archives. Raises StorageError."""
        self._change(lambda before: Watched({job: now, **before.seen}, {**before.newest, **newest}))

    def note_all(
        self,
        jobs: Iterable[str],
        now: dt.datetime,
        newest: Mapping[tuple[str, str], dt.datetime],
        unseen: Container[str],
    ) -> None:
        """Remember that these jobs were seen, and archives in all stores but the unseen ones, and no others. Raises
        StorageError."""

        def change(before: Watched) -> Watched:
            hidden = {key: moment for key, moment in before.newest.items() if key[1] in unseen}
            return Watched({job: before.seen.get(job, now) for job in jobs}, {**hidden, **newest})

        self._change(change)

    def _change(self, change: Callable[[Watched], Watched]) -> None:
        with self._state.locked():
            before = self.read()
            after = change(before)
            if after != before:
                self._write(after)

    def _write(self, watched: Watched) -> None:
        self._state.write(
            {
                "seen": {job: isoformat(moment) for job, moment in sorted(watched.seen.items())},
                "newest": [[*key, isoformat(moment)] for key, moment in sorted(watched.newest.items())],
            }
        )


def _moment(text: Any) -> dt.datetime | None:
    try:
        return dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
