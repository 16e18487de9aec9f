"""Images from a registry: pulled when missing, updated when their tag moves, pinned by digest, private until login."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from support.engines import Host
from support.probe import build_probe, document, refused
from support.registry import Registry

_numbers = itertools.count(1)


def publish(host: Host, registry: Registry, image: str, *, version: str = "one", user: str | None = "22022") -> str:
    """Build the probe on the registry's engine, push it, and forget it there; returns its name by digest.

    Nothing of it is like any image before, so that all of it has to be pulled.
    """
    build_probe(host, "test/published:1", version=f"{version}; : {next(_numbers)}", user=user)
    before = host.docker("images", "-q", "--no-trunc", image).stdout.strip()
    host.docker("tag", "test/published:1", image)
    registry.login(host)
    host.docker("push", image)
    registry.logout(host)
    digests = json.loads(host.docker("inspect", "-f", "{{json .RepoDigests}}", image).stdout)
    repository = image.rpartition(":")[0]
    (digest,) = [name for name in digests if name.startswith(repository)]
    host.docker("rmi", "-f", host.docker("inspect", "-f", "{{.Id}}", image).stdout.strip())
    if before:
        host.docker("tag", before, image)
    return digest


@pytest.fixture
def service(host: Host, registry: Registry, request: pytest.FixtureRequest) -> str:
    """A service installed from the registry by tag; its image's name, which is another for each test."""
    image = registry.image(f"{request.node.name.lower()[:60]}:latest")
    publish(host, registry, image)
    registry.login(host)
    host.drunner("install", image, "mine")
    return image


def test_a_private_image_is_refused_before_login_and_installed_after(host: Host, registry: Registry) -> None:
    image = registry.image("private/probe:2")
    publish(host, registry, image)
    for command in ("install", "checkimage"):
        said = refused(host, command, image)
        assert f"cannot pull {image}" in said
        assert "docker login" in said
    registry.login(host)
    assert document(host.drunner("checkimage", image, "--json"))["image"] == image
    host.drunner("install", image)
    assert host.run("probe", "version").stdout == "one\n"


def test_an_image_that_the_registry_does_not_have_is_refused(host: Host, registry: Registry) -> None:
    publish(host, registry, registry.image("private/known:1"))
    registry.login(host)
    assert "cannot pull" in refused(host, "install", registry.image("private/known:2"), "mine")
    assert "cannot pull" in refused(host, "install", registry.image("private/unknown:1"), "mine")


def test_an_image_that_was_pulled_for_a_failed_install_is_removed_again(host: Host, registry: Registry) -> None:
    unfit, failing = registry.image("private/unfit:1"), registry.image("private/failing:1")
    publish(host, registry, unfit, user=None)
    publish(host, registry, failing)
    registry.login(host)
    assert "runs as root" in refused(host, "install", unfit, "mine")
    assert "runs as root" in refused(host, "checkimage", unfit)
    refused(host, "install", failing, "mine", env={"FAIL_AT": "install"})


def test_update_takes_the_image_that_the_tag_has_moved_to(host: Host, registry: Registry, service: str) -> None:
    refused(host, "update", "mine", code=3)
    publish(host, registry, service, version="two")
    registry.login(host)
    host.drunner("update", "mine")
    assert host.run("mine", "version").stdout == "two\n"
    refused(host, "update", "mine", code=3)


def test_settings_keep_update_from_pulling(host: Host, registry: Registry, service: str) -> None:
    publish(host, registry, service, version="two")
    registry.login(host)
    host.write_config_sh(pull_on_update=0)
    refused(host, "update", "mine", code=3)
    assert host.run("mine", "version").stdout == "one\n"


def test_only_the_tag_that_was_given_is_followed(host: Host, registry: Registry, service: str) -> None:
    publish(host, registry, service.replace(":latest", ":other"), version="two")
    registry.login(host)
    refused(host, "update", "mine", code=3)


def test_an_image_given_by_digest_stays_that_image(host: Host, registry: Registry) -> None:
    image = registry.image("private/pinned:1")
    digest = publish(host, registry, image)
    publish(host, registry, image, version="two")
    registry.login(host)
    host.drunner("install", digest, "mine")
    refused(host, "update", "mine", code=3)
    assert host.run("mine", "version").stdout == "one\n"
    assert (host.root / "services" / "mine" / "imagename.sh").read_text() == f'IMAGENAME="{digest}"\n'
    assert host.docker("images", "-q", image).stdout == ""


def test_an_update_to_an_unfit_image_leaves_the_old_one_in_place(host: Host, registry: Registry, service: str) -> None:
    publish(host, registry, service, version="two", user=None)
    registry.login(host)
    host.run("mine", "keep")
    assert "runs as root" in refused(host, "update", "mine")
    assert host.run("mine", "version").stdout == "one\n"


def test_an_update_whose_hook_fails_leaves_the_old_image_in_place(host: Host, registry: Registry, service: str) -> None:
    publish(host, registry, service, version="two")
    registry.login(host)
    refused(host, "update", "mine", env={"FAIL_AT": "updateend"})
    assert host.run("mine", "version").stdout == "one\n"


def test_an_update_that_cannot_reach_the_registry_changes_nothing(host: Host, registry: Registry, service: str) -> None:
    registry.logout(host)
    assert "cannot pull" in refused(host, "update", "mine")


def test_a_pull_that_breaks_off_half_way_is_an_error(
    host: Host, registry: Registry, service: str, engines_directory: Path
) -> None:
    """The engine tells of that at the end of a reply that had begun as a success."""
    digest = publish(host, registry, service, version="two").rpartition(":")[2]
    blobs = engines_directory / "registry" / "data" / "docker" / "registry" / "v2" / "blobs" / "sha256"
    manifest = json.loads((blobs / digest[:2] / digest / "data").read_text())
    layer = manifest["layers"][-1]["digest"].rpartition(":")[2]
    (blobs / layer[:2] / layer / "data").unlink()
    registry.login(host)
    assert "cannot pull" in refused(host, "update", "mine")
