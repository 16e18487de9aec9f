"""The directory of an installed service."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from drunner_vault.errors import (
    BadImage,
    BadServiceName,
    ServiceError,
    ServiceExists,
    StorageError,
    UnknownService,
)
from drunner_vault.services.dialect import FIRST
from drunner_vault.services.home import InstallRecord, ServiceHome, installed
from drunner_vault.services.servicecfg import ServiceConfig

RECORD = InstallRecord("an/image:1", "sha256:0", 12345, "2026-01-31T23:59:59Z", "1.0")
FILES = {
    "servicerunner": b'#!/bin/bash\ncase "$1" in\n destroy)\n ;;\nesac\n',
    "servicecfg.sh": b"VOLUMES=(/data)\n",
    "lib/deep/more": b"\x00\xff",
    "utils.sh": b"an image's own, which is not used",
}


@pytest.fixture
def home(tmp_path: Path) -> ServiceHome:
    return ServiceHome(tmp_path / "root", "x")


def install(home: ServiceHome, record: InstallRecord = RECORD) -> Path | None:
    return home.swap_in(home.stage(FILES, variables="SERVICENAME=x\n", record=record))


def hidden(home: ServiceHome) -> list[str]:
    return [path.name for path in home.path.parent.iterdir() if path.name.startswith(".")]


def test_an_installed_service_tells_all_about_itself(home: ServiceHome) -> None:
    assert install(home) is None
    assert home.exists()
    assert home.validate() == []
    assert home.image() == "an/image:1"
    assert home.record() == RECORD
    assert home.config() == ServiceConfig(("/data",))
    assert home.dialect() is FIRST
    assert home.path == home.root / "services" / "x"
    assert hidden(home) == []


def test_scripts_keep_their_names_and_ours_are_beside_them(home: ServiceHome) -> None:
    install(home)
    files = home.files()
    assert set(files) == {*FILES, "variables.sh"}
    assert files["lib/deep/more"] == b"\x00\xff"
    assert files["variables.sh"] == b"SERVICENAME=x\n"
    assert b"function die" in files["utils.sh"]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_scripts_can_be_run_and_not_changed_and_nobody_else_looks_in(home: ServiceHome, umask: int) -> None:
    before = os.umask(umask)
    try:
        install(home)
    finally:
        os.umask(before)
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in home.scripts.rglob("*") if path.is_file()} == {0o500}
    assert home.temp_dir.stat().st_mode & 0o777 == 0o777
    assert subprocess.run([home.servicerunner, "help"], check=False).returncode == 0


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "", ".", "a\0b"])
def test_a_file_that_would_leave_the_directory_is_refused(home: ServiceHome, name: str) -> None:
    with pytest.raises(BadImage, match="impossible name"):
        home.stage({name: b""}, variables="", record=RECORD)
    assert not home.exists()


def test_staging_that_fails_leaves_nothing(home: ServiceHome) -> None:
    with pytest.raises(StorageError):
        home.stage({"a": b"", "a/b": b""}, variables="", record=RECORD)
    assert hidden(home) == []


def test_staging_changes_nothing_that_is_in_use(home: ServiceHome) -> None:
    install(home)
    home.stage({**FILES, "servicerunner": b"new"}, variables="", record=RECORD)
    assert home.files()["servicerunner"] == FILES["servicerunner"]
    assert [found.name for found in installed(home.root)] == ["x"]


def test_a_new_version_takes_the_place_and_the_old_one_can_be_put_back(home: ServiceHome) -> None:
    install(home)
    old = install(home, InstallRecord("an/image:2", "sha256:1", 1, "", "2.0"))
    assert home.image() == "an/image:2"
    assert old is not None
    home.put_back(old)
    assert home.image() == "an/image:1"
    assert hidden(home) == []


def test_an_old_version_that_is_not_wanted_is_discarded(home: ServiceHome) -> None:
    install(home)
    home.discard(install(home))
    home.discard(None)
    assert home.exists()
    assert hidden(home) == []


def test_putting_back_nothing_removes_what_came_new(home: ServiceHome) -> None:
    home.put_back(install(home))
    assert not home.exists()
    assert hidden(home) == []


def test_versions_are_swapped_in_one_step(home: ServiceHome) -> None:
    install(home)
    watch = 'n=0; until [ -e "$0.stop" ]; do [ -d "$0" ] || n=$((n + 1)); done; echo $n'
    watcher = subprocess.Popen(["bash", "-c", watch, home.path], stdout=subprocess.PIPE)
    for _ in range(30):
        home.discard(install(home))
    (home.path.parent / "x.stop").touch()
    assert watcher.communicate()[0] == b"0\n"


def test_what_the_service_saved_is_carried_over_to_a_new_version(home: ServiceHome) -> None:
    install(home)
    (home.path / "environment.sh").write_text("export KEY=1\n")
    home.discard(install(home))
    assert (home.path / "environment.sh").read_text() == "export KEY=1\n"


def test_a_removed_service_is_gone(home: ServiceHome) -> None:
    install(home)
    home.remove()
    home.remove()
    assert not home.exists()
    assert hidden(home) == []


def test_sweeping_removes_what_a_crash_left_of_this_service_only(home: ServiceHome) -> None:
    install(home)
    other = ServiceHome(home.root, "x.y")
    install(other)
    home.stage(FILES, variables="", record=RECORD)
    kept = other.stage(FILES, variables="", record=RECORD)
    home.sweep()
    assert hidden(home) == [kept.name]
    assert home.exists()


def test_services_are_listed_by_name(home: ServiceHome) -> None:
    assert installed(home.root) == []
    for name in ("b", "a"):
        install(ServiceHome(home.root, name))
    (home.root / "services" / "a file").touch()
    (home.root / "services" / "an impossible name").mkdir()
    assert [found.name for found in installed(home.root)] == ["a", "b"]


def test_a_hostile_name_never_becomes_a_path(tmp_path: Path) -> None:
    with pytest.raises(BadServiceName):
        ServiceHome(tmp_path, "../x")


def test_a_service_that_is_not_installed_is_unknown(home: ServiceHome) -> None:
    for ask in (home.image, home.config, home.dialect, home.require):
        with pytest.raises(UnknownService):
            ask()
    assert home.record() is None
    assert len(home.validate()) == 1
    home.require_absent()


def test_a_service_that_is_installed_is_not_absent(home: ServiceHome) -> None:
    install(home)
    home.require()
    with pytest.raises(ServiceExists):
        home.require_absent()


@pytest.mark.parametrize("text", [None, b"", b"not json", b"[]", b"{}", b'{"image": 1, "uid": "x"}'])
def test_a_service_of_old_has_no_record(home: ServiceHome, text: bytes | None) -> None:
    install(home)
    (home.path / "service.json").unlink()
    if text is not None:
        (home.path / "service.json").write_bytes(text)
    assert home.record() is None
    assert home.validate() == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [(b"IMAGENAME=$(id)\n", "line 1"), (b"", "names no image"), (b"IMAGENAME=(a)\n", "names no image")],
)
def test_an_image_name_that_cannot_be_read_is_damage(home: ServiceHome, text: bytes, reason: str) -> None:
    install(home)
    (home.path / "imagename.sh").write_bytes(text)
    with pytest.raises(ServiceError, match=reason) as caught:
        home.image()
    assert "drunner recover x" in caught.value.hint
    assert reason in home.validate()[0]


@pytest.mark.parametrize(
    "name",
    ["imagename.sh", "drunner/servicerunner", "drunner/servicecfg.sh", "drunner/variables.sh", "drunner/utils.sh"],
)
def test_a_missing_file_is_found(home: ServiceHome, name: str) -> None:
    install(home)
    (home.path / name).unlink()
    assert home.validate() == [f"{home.path / name} is missing"]


def test_settings_that_cannot_be_read_are_found(home: ServiceHome) -> None:
    install(home)
    (home.scripts / "servicecfg.sh").chmod(0o600)
    (home.scripts / "servicecfg.sh").write_text("reboot\n")
    assert "reboot" in home.validate()[0]


def test_links_in_the_directory_are_not_followed(home: ServiceHome) -> None:
    install(home)
    (home.scripts / "link").symlink_to("/etc/passwd")
    assert "link" not in home.files()
