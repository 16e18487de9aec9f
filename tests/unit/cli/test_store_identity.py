"""store identity, and what commands do with a store that is not the one they know, as an operator sees it."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from support.catalogs import DAY, HOST, HOST_KEY, add, identify, keys

from drunner_vault.catalog.identity import IDENTITY_KEY, read_identity
from drunner_vault.stores.local import LocalStore

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
Run = Callable[..., subprocess.CompletedProcess[str]]
PRUNE = ("--keep-last", "1")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """drunner-vault on a host that trusts the signer of the archives."""
    require("" if os.geteuid() == 0 else "only root remembers stores")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/allowed_signers").write_text(HOST_KEY.public().allowed_line(HOST))
    environment = {"PATH": "/usr/bin:/bin", "DRUNNER_CONFIG_DIR": str(tmp_path / "etc"), "LC_ALL": "C.UTF-8"}
    environment["DRUNNER_ROOT"] = str(tmp_path / "drunner")

    def call(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "drunner_vault", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return call


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "store").mkdir()
    return LocalStore(tmp_path / "store")


def archives(run: Run, store: LocalStore) -> tuple[list[dict[str, Any]], str]:
    """What `archives` lists, and what it says beside that."""
    done = run("archives", store.root, "--json")
    return json.loads(done.stdout), done.stderr


def test_a_store_has_no_identity_until_something_writes_one(run: Run, store: LocalStore) -> None:
    error, hint = run("store", "identity", store.root, code=1).stderr.splitlines()
    assert error == f"error: {store.root} has no identity"
    assert "--accept" in hint
    assert list(store.root.iterdir()) == []
    made = run("store", "identity", store.root, "--accept").stdout.strip()
    assert made == read_identity(store)
    assert run("store", "identity", store.root).stdout.strip() == made
    said = json.loads(run("store", "identity", store.root, "--accept", "--json").stdout)
    assert said == {"store": str(store.root), "identity": made, "accepted": True}


def test_a_disk_that_is_not_mounted_is_noticed_before_anything_is_deleted(
    run: Run, store: LocalStore, tmp_path: Path
) -> None:
    made = [add(store, NOW - days * DAY) for days in range(2)]
    run("prune", store.root, *PRUNE)
    shutil.move(store.root, tmp_path / "unplugged")
    store.root.mkdir()
    error, hint = run("prune", store.root, *PRUNE, "--apply", code=1).stderr.splitlines()
    assert error == f"error: {store.root} is not the store that was used before: its identity is missing"
    assert f"is the disk mounted at {store.root}?" in hint
    run("copy", tmp_path / "unplugged", store.root, code=1)
    assert list(store.root.iterdir()) == []
    store.root.rmdir()
    shutil.move(tmp_path / "unplugged", store.root)
    assert json.loads(run("prune", store.root, *PRUNE, "--apply", "--json").stdout)["deleted"] == [made[1]]


def test_another_disk_is_refused_until_it_is_accepted_as_the_hint_says(run: Run, store: LocalStore) -> None:
    add(store, NOW)
    run("prune", store.root, *PRUNE)
    store.delete(IDENTITY_KEY)
    identify(store, "6" * 32)
    error, hint = run("prune", store.root, *PRUNE, code=1).stderr.splitlines()
    assert error == f"error: {store.root} is not the store that was used before: it shows another identity"
    run(*hint.split("drunner-vault ")[1].split())
    run("prune", store.root, *PRUNE)


def test_a_copy_of_a_store_is_refused_until_it_is_accepted(run: Run, store: LocalStore, tmp_path: Path) -> None:
    add(store, NOW)
    run("prune", store.root, *PRUNE)
    shutil.copytree(store.root, tmp_path / "copy")
    refused = run("prune", tmp_path / "copy", *PRUNE, code=1).stderr
    assert f"{tmp_path}/copy shows the identity of {store.root}: it is a copy of that store" in refused
    run("store", "identity", tmp_path / "copy", "--accept")
    run("prune", tmp_path / "copy", *PRUNE)
    run("prune", store.root, *PRUNE)


@pytest.mark.parametrize("how", ["lost", "other", "copy"])
def test_a_listing_of_such_a_store_says_so_and_proves_nothing(
    run: Run, store: LocalStore, tmp_path: Path, how: str
) -> None:
    add(store, NOW)
    run("prune", store.root, *PRUNE)
    if how == "copy":
        store = LocalStore(Path(shutil.copytree(store.root, tmp_path / "copy")))
    else:
        store.delete(IDENTITY_KEY)
    if how == "other":
        identify(store, "6" * 32)
    (item,), said = archives(run, store)
    assert item["standing"] == "stated"
    assert said.startswith("notice: ")
    assert "identity" in said


def test_a_store_is_the_same_however_its_address_is_written(run: Run, store: LocalStore, tmp_path: Path) -> None:
    add(store, NOW)
    (tmp_path / "link").symlink_to(store.root)
    (tmp_path / "etc/vault.toml").write_text(f"[stores.main]\nurl = 'file://{store.root}'\n")
    for name in (store.root, f"file://{store.root}", f"{store.root}/", tmp_path / "link", "main"):
        run("prune", name, *PRUNE)
    known = json.loads((tmp_path / "drunner/vault/stores.json").read_text())["stores"]
    assert known == [{"address": str(store.root), "identity": read_identity(store)}]


def test_a_directory_of_a_store_is_known_by_the_identity_at_its_root(run: Run, store: LocalStore) -> None:
    key = add(store, NOW)
    for prefix in (HOST, f"{HOST}/notes"):
        (item,) = json.loads(run("archives", store.root / prefix, "--json").stdout)
        assert (item["key"], item["standing"]) == (key, "proven")


@pytest.mark.parametrize("text", [b"", b"{}\n", b'{"format":"drunner-vault-store","version":1,"id":"x"}\n'])
def test_an_identity_that_is_not_valid_is_an_error_that_names_it(run: Run, store: LocalStore, text: bytes) -> None:
    add(store, NOW)
    (store.root / IDENTITY_KEY).write_bytes(text)
    before = keys(store)
    for command in (("store", "identity", store.root), ("prune", store.root, *PRUNE, "--apply")):
        assert IDENTITY_KEY in run(*command, code=1).stderr
    assert keys(store) == before


def test_a_store_that_is_looked_at_only_is_not_remembered_and_gets_no_identity(
    run: Run, store: LocalStore, tmp_path: Path
) -> None:
    add(store, NOW)
    store.delete(IDENTITY_KEY)
    (item,), _ = archives(run, store)
    assert item["standing"] == "stated"
    assert read_identity(store) == ""
    assert not (tmp_path / "drunner/vault/stores.json").exists()
