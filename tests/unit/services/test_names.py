"""Names of services and volumes."""

from __future__ import annotations

import pytest

from drunner_vault.errors import BadImage, BadServiceName
from drunner_vault.services.names import (
    check_service_name,
    default_service_name,
    volume_name,
    volume_names,
)


@pytest.mark.parametrize("name", ["x", "minecraft", "My-Service_1.2", "0", "a" * 63])
def test_an_ordinary_name_is_accepted_as_it_is(name: str) -> None:
    assert check_service_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "-x", ".x", "_x", "a b", "a\n", "a\0b", "é", "a$b", "a;b", "x" * 64, "x" * 300],
)
def test_an_impossible_name_is_refused_with_advice(name: str) -> None:
    with pytest.raises(BadServiceName) as caught:
        check_service_name(name)
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 120


@pytest.mark.parametrize("name", ["drunner", "drunner-vault", "help", "cd", "exit", "if"])
def test_a_name_that_means_something_else_already_is_refused(name: str) -> None:
    with pytest.raises(BadServiceName, match="command already"):
        check_service_name(name)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("minecraft", "minecraft"),
        ("drunner/minecraft", "minecraft"),
        ("drunner/minecraft:1.2", "minecraft"),
        ("host:5000/minecraft", "minecraft"),
        ("host:5000/x/y:tag", "y"),
        ("x/y@sha256:" + "0" * 64, "y"),
        ("host:5000/x/y:tag@sha256:" + "0" * 64, "y"),
    ],
)
def test_a_service_is_named_after_the_last_part_of_its_image(image: str, name: str) -> None:
    assert default_service_name(image) == name


@pytest.mark.parametrize("image", ["", "x/", "x/help", "x/-y"])
def test_an_image_that_gives_no_name_asks_for_one(image: str) -> None:
    with pytest.raises(BadServiceName) as caught:
        default_service_name(image)
    assert "give the service a name" in caught.value.hint


def test_a_volume_is_named_after_the_service_and_the_letters_and_digits_of_its_path() -> None:
    assert volume_name("x", "/etc/samba") == "drunner-x-etcsamba"
    assert volume_name("x", "/minecraft/data_1") == "drunner-x-minecraftdata1"


def test_volume_names_keep_the_order_of_the_paths() -> None:
    assert volume_names("x", ["/data", "/config"]) == ("drunner-x-data", "drunner-x-config")


def test_two_paths_that_would_share_a_volume_are_refused_by_name() -> None:
    with pytest.raises(BadImage, match=r"'/a/b' and '/ab'"):
        volume_names("x", ["/a/b", "/c", "/ab"])


def test_a_path_without_letters_and_digits_has_no_volume() -> None:
    with pytest.raises(BadImage, match="neither a letter nor a digit"):
        volume_names("x", ["/é"])
