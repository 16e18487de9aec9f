"""`update` and `recover`: a new image for a service, or the old one again; all of it or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.engines import Host
from support.probe import SERVICECFG, build_probe, document, refused
from support.services import read_calls

IMAGE = "test/updated:1"


@pytest.fixture
def service(host: Host) -> str:
    """An installed service whose image is built here, on a host that does not pull on update."""
    host.write_config_sh(pull_on_update=0)
    host.drunner("install", build_probe(host, IMAGE), "mine")
    return "mine"


def test_nothing_new_changes_nothing_and_exits_3(host: Host, service: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert "up to date" in refused(host, "update", service, code=3, env={"SERVICE_LOG": str(log)})
    assert read_calls(log) == []


def test_an_image_that_was_rebuilt_here_is_taken(host: Host, service: str) -> None:
    build_probe(host, IMAGE, version="two")
    assert host.run(service, "version").stdout == "one\n"
    assert document(host.drunner("update", service, "--json")) == {"service": service}
    assert host.run(service, "version").stdout == "two\n"
    refused(host, "update", service, code=3)


def test_an_image_built_here_is_not_looked_for_in_a_registry(host: Host, service: str) -> None:
    """A name is no proof that a stranger's image of that name is meant."""
    (host.config_dir / "config.sh").unlink()
    build_probe(host, IMAGE, version="two")
    done = host.drunner("update", service)
    assert f"{IMAGE} was built on this host" in done.stderr
    assert host.run(service, "version").stdout == "two\n"


def test_a_volume_that_is_new_in_the_image_is_created(host: Host, service: str) -> None:
    build_probe(host, IMAGE, cfg=SERVICECFG.replace('"/data"', '"/data" "/more"'))
    host.run(service, "write", "kept")
    host.drunner("update", service)
    assert {"drunner-mine-data", "drunner-mine-more"} <= host.volumes()
    assert host.run(service, "read").stdout == "kept\n"
    host.drunner("obliterate", service)
    assert not {name for name in host.volumes() if name.startswith("drunner-mine")}


def test_obliterate_takes_volumes_of_earlier_versions_too(host: Host, service: str) -> None:
    build_probe(host, IMAGE, cfg=SERVICECFG.replace("/data", "/other"))
    host.drunner("update", service)
    assert {"drunner-mine-data", "drunner-mine-other"} <= host.volumes()
    host.drunner("obliterate", service)
    assert not {name for name in host.volumes() if name.startswith("drunner-mine")}


def test_what_is_missing_is_made_again(host: Host, service: str) -> None:
    (host.bin_dir / service).unlink()
    host.docker("volume", "rm", "drunner-mine-data")
    host.drunner("update", service)
    assert service in host.launchers()
    assert "drunner-mine-data" in host.volumes()
    assert "all well" in host.drunner("status", service).stdout


def test_an_image_that_is_no_longer_fit_leaves_the_service_as_it_is(host: Host, service: str, tmp_path: Path) -> None:
    host.run(service, "keep")
    build_probe(host, IMAGE, version="two", user=None)
    log = tmp_path / "log"
    assert "runs as root" in refused(host, "update", service, env={"SERVICE_LOG": str(log)})
    assert read_calls(log) == []
    assert host.run(service, "version").stdout == "one\n"


@pytest.mark.parametrize("hook", ["updatestart", "updateend"])
def test_a_hook_that_fails_takes_the_update_back(host: Host, service: str, tmp_path: Path, hook: str) -> None:
    build_probe(host, IMAGE, version="two", cfg=SERVICECFG.replace('"/data"', '"/data" "/more"'))
    log = tmp_path / "log"
    said = refused(host, "update", service, env={"SERVICE_LOG": str(log), "FAIL_AT": hook})
    assert f"the {hook} hook of mine failed with exit code 4" in said
    assert f"told to fail at {hook}" in said
    assert host.run(service, "version").stdout == "one\n"
    # what updatestart stopped is started again, whichever of them failed
    assert read_calls(log)[-1].event == "updateend"


def test_what_the_service_kept_for_itself_survives_an_update(host: Host, service: str) -> None:
    (host.root / "services" / service / "environment.sh").write_text('KEPT="yes"\n')
    build_probe(host, IMAGE, version="two")
    host.drunner("update", service)
    assert (host.root / "services" / service / "environment.sh").read_text() == 'KEPT="yes"\n'


def test_a_service_whose_image_has_gone_says_so(host: Host, service: str) -> None:
    host.docker("rmi", "-f", IMAGE)
    assert f"there is no image {IMAGE}" in refused(host, "update", service)


def test_recover_installs_the_same_image_again_over_the_volumes(host: Host, service: str) -> None:
    host.run(service, "write", "kept")
    home = host.root / "services" / service
    (home / "drunner" / "servicerunner").unlink()
    (host.bin_dir / service).unlink()
    assert document(host.drunner("recover", service, "--json")) == {"service": service}
    assert host.run(service, "read").stdout == "kept\n"
    assert "all well" in host.drunner("status", service).stdout


def test_recover_mends_a_service_whose_settings_cannot_be_read(host: Host, service: str) -> None:
    home = host.root / "services" / service
    (home / "drunner" / "servicecfg.sh").write_text("$(rm -rf /)\n")
    assert "servicecfg.sh, line 1" in refused(host, "uninstall", service)
    assert "servicecfg.sh, line 1" in refused(host, "obliterate", service)
    assert "servicecfg.sh, line 1" in refused(host, "servicecmd", service, "version")
    assert "servicecfg.sh, line 1" in host.drunner("status", service, check=False).stdout
    host.drunner("recover", service)
    assert host.run(service, "version").stdout == "one\n"


def test_recover_from_a_given_image_mends_a_service_that_does_not_know_its_own(host: Host, service: str) -> None:
    home = host.root / "services" / service
    for name in ("imagename.sh", "service.json"):
        (home / name).unlink()
    for command in ("recover", "update"):
        assert "recover mine IMAGE" in refused(host, command, service)
    host.drunner("recover", service, IMAGE)
    assert "all well" in host.drunner("status", service).stdout


def test_recover_brings_back_a_service_that_was_uninstalled(host: Host, service: str) -> None:
    host.run(service, "write", "kept")
    host.drunner("uninstall", service)
    assert "no service named mine" in refused(host, "recover", service)
    host.drunner("recover", service, IMAGE)
    assert host.run(service, "read").stdout == "kept\n"


def test_recover_takes_another_image(host: Host, service: str) -> None:
    host.drunner("recover", service, build_probe(host, "test/other:2", version="two"))
    assert host.run(service, "version").stdout == "two\n"
    record = json.loads((host.root / "services" / service / "service.json").read_text())
    assert record["image"] == "test/other:2"


def test_a_recover_that_fails_leaves_the_service_as_it_was(host: Host, service: str, tmp_path: Path) -> None:
    host.run(service, "write", "kept")
    log = tmp_path / "log"
    other = build_probe(host, "test/other:2", version="two")
    refused(host, "recover", service, other, env={"SERVICE_LOG": str(log), "FAIL_AT": "install"})
    assert host.run(service, "version").stdout == "one\n"
    assert host.run(service, "read").stdout == "kept\n"


def test_a_service_that_drunner_installed_is_kept_up_to_date(host: Host, service: str) -> None:
    """It has no service.json, its volumes no labels."""
    home = host.root / "services" / service
    (home / "service.json").unlink()
    (home / "temp").rmdir()
    host.docker("volume", "rm", "drunner-mine-data")
    host.docker("volume", "create", "drunner-mine-data")
    assert host.run(service, "version").stdout == "one\n"
    host.drunner("status", service)
    host.drunner("update", service)
    refused(host, "update", service, code=3)
    (home / "service.json").unlink()
    host.drunner("obliterate", service)
    assert "drunner-mine-data" not in host.volumes()
