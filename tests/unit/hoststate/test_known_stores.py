"""Which identity this host knows at which address, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from drunner_vault.errors import StorageError
from drunner_vault.hoststate.known_stores import KnownStore, KnownStores, StoreChanged

ONE, OTHER = "1" * 32, "2" * 32
DISK, BUCKET = "/mnt/backups", "s3://backups/production"


@pytest.fixture
def known(tmp_path: Path) -> KnownStores:
    return KnownStores(tmp_path / "vault")


def refusal(known: KnownStores, address: str, identity: str) -> StoreChanged:
    with pytest.raises(StoreChanged) as refused:
        known.check(address, identity, address)
    assert isinstance(refused.value, StorageError)
    assert refused.value.hint.endswith(f"drunner-vault store identity {address} --accept")
    return refused.value


def test_a_store_that_is_not_known_may_show_any_identity_or_none(known: KnownStores, tmp_path: Path) -> None:
    for identity in (ONE, ""):
        known.check(DISK, identity, DISK)
    assert known.all() == []
    assert not (tmp_path / "vault").exists()


def test_a_store_that_shows_what_is_known_of_it_is_accepted(known: KnownStores, tmp_path: Path) -> None:
    known.remember(DISK, ONE)
    known.remember(BUCKET, OTHER)
    known.remember(DISK, ONE)
    again = KnownStores(tmp_path / "vault")
    assert again.all() == [KnownStore(DISK, ONE), KnownStore(BUCKET, OTHER)]
    again.check(DISK, ONE, DISK)
    again.check(BUCKET, OTHER, BUCKET)


@pytest.mark.parametrize("address", [DISK, BUCKET])
def test_a_store_that_has_lost_its_identity_is_refused(known: KnownStores, address: str) -> None:
    known.remember(address, ONE)
    refused = refusal(known, address, "")
    assert refused.message == f"{address} is not the store that was used before: its identity is missing"
    assert (f"is the disk mounted at {address}?" in refused.hint) == (address == DISK)


@pytest.mark.parametrize("address", [DISK, BUCKET])
def test_a_store_that_shows_another_identity_is_refused(known: KnownStores, address: str) -> None:
    known.remember(address, ONE)
    refused = refusal(known, address, OTHER)
    assert refused.message == f"{address} is not the store that was used before: it shows another identity"
    assert (f"is the right disk mounted at {address}?" in refused.hint) == (address == DISK)


def test_an_identity_that_is_known_from_another_address_is_refused(known: KnownStores) -> None:
    known.remember(DISK, ONE)
    refused = refusal(known, BUCKET, ONE)
    assert refused.message.startswith(f"{BUCKET} shows the identity of {DISK}: it is a copy of that store")


def test_what_an_operator_accepts_replaces_what_was_known_of_that_address_only(known: KnownStores) -> None:
    known.remember(DISK, ONE)
    known.remember(BUCKET, OTHER)
    known.accept(DISK, OTHER)
    assert sorted(known.all(), key=lambda item: item.address) == [KnownStore(DISK, OTHER), KnownStore(BUCKET, OTHER)]
    known.check(DISK, OTHER, DISK)
    known.check(BUCKET, OTHER, BUCKET)
    refusal(known, DISK, ONE)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"stores": 1}', '{"stores": [1, {"address": 1, "identity": "x"}, {"address": "x"}]}', "\xff"],
)
def test_a_document_that_is_not_valid_is_as_if_nothing_was_known(known: KnownStores, tmp_path: Path, text: str) -> None:
    known.remember(DISK, ONE)
    (tmp_path / "vault" / "stores.json").write_text(text, "latin-1")
    assert known.all() == []
    known.remember(BUCKET, ONE)
    assert known.all() == [KnownStore(BUCKET, ONE)]
