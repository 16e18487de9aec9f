"""servicecfg.sh."""

from __future__ import annotations

import pytest

from drunner_vault.errors import BadImage
from drunner_vault.services.servicecfg import ServiceConfig, parse_servicecfg

PUBLISHED = """\
#!/bin/bash
# Service configuration.

VERSION=2

# e.g.
# VOLUMES=("/config" "/data")

VOLUMES=("/config" "/data")

EXTRACONTAINERS=( "kitematic/minecraft" )
"""


def test_a_file_as_services_publish_it_is_read() -> None:
    assert parse_servicecfg(PUBLISHED) == ServiceConfig(("/config", "/data"), ("kitematic/minecraft",), 2)


def test_windows_line_ends_make_no_difference() -> None:
    assert parse_servicecfg(PUBLISHED.replace("\n", "\r\n").encode()) == parse_servicecfg(PUBLISHED)


def test_what_is_not_set_is_empty_and_version_one() -> None:
    assert parse_servicecfg(b"#!/bin/bash\n") == ServiceConfig((), (), 1)


def test_a_plain_string_is_an_array_of_one_as_for_bash() -> None:
    assert parse_servicecfg("VOLUMES=/data\nEXTRACONTAINERS=\n").volumes == ("/data",)


def test_the_order_of_volumes_is_kept() -> None:
    assert parse_servicecfg("VOLUMES=(/z /a /m)").volumes == ("/z", "/a", "/m")


@pytest.mark.parametrize("line", ["VOLUMES=($(cat /etc/shadow))", 'VOLUMES=("${SERVICENAME}")', "rm -rf /"])
def test_a_line_that_would_run_something_is_refused_and_shown(line: str) -> None:
    with pytest.raises(BadImage) as caught:
        parse_servicecfg(f"#!/bin/bash\n\n{line}\n")
    assert "line 3" in caught.value.message
    assert line in caught.value.message
    assert "VOLUMES=(…)" in caught.value.hint


def test_an_unknown_setting_is_refused_since_it_may_be_a_misspelt_one() -> None:
    with pytest.raises(BadImage, match="VOLUME,"):
        parse_servicecfg("VOLUME=(/data)\n")


@pytest.mark.parametrize("version", ["3", "0", "two", "(2)", "''"])
def test_an_unknown_version_is_refused(version: str) -> None:
    with pytest.raises(BadImage, match="VERSION"):
        parse_servicecfg(f"VERSION={version}\n")


@pytest.mark.parametrize(
    "path", ["data", "", "/", "//", "/.", "/a/../b", "/..", "/a:/etc", "/a:ro", "'/a\nb'", "'/a\tb'", "../x"]
)
def test_a_path_that_cannot_be_a_volume_is_refused(path: str) -> None:
    quoted = path if path.startswith("'") else f"'{path}'"
    with pytest.raises(BadImage, match="the volume") as caught:
        parse_servicecfg(f"VOLUMES=({quoted})\n")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("second", ["/a", "/a/", "/./a"])
def test_a_volume_listed_twice_is_refused(second: str) -> None:
    with pytest.raises(BadImage, match="listed twice"):
        parse_servicecfg(f"VOLUMES=(/a {second})\n")


@pytest.mark.parametrize("image", ["--privileged", "''", "'a b'", "a,b"])
def test_an_extra_container_that_is_no_image_is_refused(image: str) -> None:
    with pytest.raises(BadImage, match="EXTRACONTAINERS"):
        parse_servicecfg(f"EXTRACONTAINERS=({image})\n")


def test_images_of_private_registries_with_tag_and_digest_are_accepted() -> None:
    image = "host:5000/team/db:1.2@sha256:" + "a" * 64
    assert parse_servicecfg(f"EXTRACONTAINERS=({image})\n").extra_containers == (image,)
