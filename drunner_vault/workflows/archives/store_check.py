"""Trying a store's promises on the real thing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drunner_vault.clock import Clock
from drunner_vault.errors import AccessDenied, Locked, VaultError
from drunner_vault.stores.contract import LOCK, PROMISES, Broken, Promise
from drunner_vault.stores.store import Store


@dataclass(frozen=True)
class Finding:
    """What became of one promise. verdict: `kept`, `broken`, `refused` (we are not allowed to try it) or `failed`.
    details: why it is not kept."""

    promise: str
    text: str
    verdict: str
    details: str
    seconds: float


def check_store(store: Store, clock: Clock, sleep: Callable[[float], None]) -> Iterator[Finding]:
    """Try every promise below a directory of its own, which is removed afterwards: the last thing to be tried."""
    base = f"drunner-vault-check-{secrets.token_hex(4)}"
    tidy = Promise("tidy", "what the check has written can be removed", lambda store, base: _clean(store, base, sleep))
    try:
        for number, promise in enumerate(PROMISES):
            yield _tried(store, promise, f"{base}/{number}", clock)
    except BaseException:
        _tried(store, tidy, base, clock)
        raise
    yield _tried(store, tidy, base, clock)


def _tried(store: Store, promise: Promise, base: str, clock: Clock) -> Finding:
    started = clock.monotonic()
    verdict, details = "kept", ""
    try:
        promise.attempt(store, base)
    except Broken as broken:
        verdict, details = "broken", str(broken)
    except AccessDenied as error:
        verdict, details = "refused", error.message
    except VaultError as error:
        verdict, details = "failed", error.message
    return Finding(promise.name, promise.text, verdict, details, round(clock.monotonic() - started, 2))


def _clean(store: Store, base: str, sleep: Callable[[float], None]) -> None:
    for item in list(store.list(base)):
        try:
            store.delete(item.key)
        except Locked:
            sleep(2 * LOCK.total_seconds())  # as long as the check locks anything
            store.delete(item.key)
    for leftover in list(store.leftovers(base)):  # last: there are servers that cannot list them
        store.discard(leftover)
