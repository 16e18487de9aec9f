"""Choosing the newest archive of a workload, by whose word it counts.

The newest proven one, else the newest stated one: of this host's own series if there is one, else of the only accepted
one. What nobody accepted has signed is only chosen where nothing else can be meant.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drunner_vault.catalog.archive import Archive, Standing
from drunner_vault.catalog.catalog import Catalog, newest
from drunner_vault.catalog.grouping import Directory
from drunner_vault.errors import BadUsage, StorageError
from drunner_vault.signing import SignerKey

_SHOWN = 8


@dataclass(frozen=True)
class Selected:
    """The archive that was chosen. notices: what the operator should know."""

    archive: Archive
    notices: tuple[str, ...] = ()


def groups_of(found: Iterable[Archive]) -> list[Directory]:
    """Return the workloads that archives are of: of those with proven archives if there are any, else of those with
    stated ones. Others cannot make a choice ambiguous."""
    items = list(found)
    proven = {item.group for item in items if item.is_proven}
    accepted = proven or {item.group for item in items if item.is_stated}
    return sorted(
        accepted
        or {item.group for item in items if item.standing is not Standing.MISPLACED}
        or {item.group for item in items}
    )


def series_of(found: Iterable[Archive]) -> dict[SignerKey, list[Archive]]:
    """Return the accepted archives of one workload by series: of those that have proven ones, if there are any.

    What is only stated may have been replayed from another store, so it makes nothing unclear.
    """
    series: dict[SignerKey, list[Archive]] = {}
    for item in found:
        if item.is_stated and item.series is not None:
            series.setdefault(item.series, []).append(item)
    proven = {key: items for key, items in series.items() if any(item.is_proven for item in items)}
    return proven or series


def select_newest(catalog: Catalog, group: Sequence[Archive], now: dt.datetime) -> Selected:
    """Return the newest archive of one workload. Pure.

    group: all its archives. Raises BadUsage if it is not clear whose archive is meant, StorageError if none is
    complete.
    """
    host = group[0].host
    series = series_of(group)
    own = next((key for key in series if catalog.signers.is_own(key, host)), None)
    if own is not None:
        return _newest_of(series[own], group, now)
    if len(series) == 1:
        return _newest_of(next(iter(series.values())), group, now)
    if series:
        raise _unclear(catalog, group, f"{len(series)} accepted keys have signed archives of {_named(group)}")
    return _select_unaccepted(catalog, group, now)


def _select_unaccepted(catalog: Catalog, group: Sequence[Archive], now: dt.datetime) -> Selected:
    """The newest of a workload of which no accepted key has signed anything."""
    present = [item for item in group if not item.missing]
    signers = {item.signer for item in present}
    if not catalog.root.identity and signers <= {""}:
        selected = _newest_of(present, group, now)
        notice = f"{selected.archive.name} was chosen by its name: nothing in its directory is signed"
        return Selected(selected.archive, (notice, *selected.notices))
    if not catalog.signers.knows(group[0].host) and len(signers) == 1 and "" not in signers:
        selected = _newest_of(present, group, now)
        notice = f"{selected.archive.name} is signed by {selected.archive.signer}, who is not trusted on this host"
        return Selected(selected.archive, (notice, *selected.notices))
    raise _unclear(catalog, group, f"no accepted key has signed an archive of {_named(group)}")


def _newest_of(found: Sequence[Archive], group: Sequence[Archive], now: dt.datetime) -> Selected:
    proven = newest((item for item in found if item.is_proven), now)
    chosen = proven or newest((item for item in found if not item.missing), now)
    if chosen is None:
        faults = "; ".join(f"{item.name}: {item.fault}" for item in found[:3])
        raise StorageError(
            f"none of the archives of {_named(group)} is complete: {faults}", "try: drunner-vault salvage"
        )
    later = [item for item in group if item.created > chosen.created and not item.missing]
    shown = [f"{item.name} is newer, and ignored: {_reason(item)}" for item in later[:_SHOWN]]
    more = [f"{len(later) - _SHOWN} further newer archives are ignored"] if len(later) > _SHOWN else []
    return Selected(chosen, (*shown, *more))


def _reason(item: Archive) -> str:
    return item.fault or item.why or "it was made in the future"


def _named(group: Sequence[Archive]) -> str:
    return f"{group[0].host}/{group[0].service}" if group[0].host else group[0].service


def _unclear(catalog: Catalog, group: Sequence[Archive], why: str) -> BadUsage:
    """The refusal to choose: it lists the newest archive of each signer, to be compared with the recovery kit."""
    tops: dict[str, Archive] = {}
    for item in sorted(group, key=lambda item: (item.created, item.key), reverse=True):
        if not item.missing:
            tops.setdefault(item.signer or "nobody", item)
    shown = [f"{item.key} by {signer}" for signer, item in list(tops.items())[:_SHOWN]]
    store = catalog.root.name.rstrip("/")
    example = next(iter(tops.values())).key if tops else "HOST/SERVICE/NAME"
    return BadUsage(
        f"{why}, so the newest is not clear; the newest of each signer: {', '.join(shown) or 'none'}",
        f"compare the fingerprints with your recovery kit, then `drunner-vault key trust LINE`, or name one: "
        f"{store}/{example}",
    )
