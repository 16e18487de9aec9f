"""Every kind of store keeps every promise, by itself and inside each wrapper."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from support.stores import KINDS, Places

from drunner_vault.stores.contract import PROMISES, Promise
from drunner_vault.stores.store import Store

_WRAPPERS: dict[str, Callable[[Store], Store]] = {"plain": lambda store: store}


@pytest.fixture(scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(request, tmp_path_factory)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.name)
@pytest.mark.parametrize("wrapper", _WRAPPERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_store_keeps_its_promise(kind: str, wrapper: str, promise: Promise, places: Places) -> None:
    store = _WRAPPERS[wrapper](places.store(kind))
    promise.attempt(store, f"check-{secrets.token_hex(6)}")
