"""What checkimage says about an image's files."""

from __future__ import annotations

import pytest

from drunner_vault.errors import BadImage
from drunner_vault.services.checks import check_scripts
from drunner_vault.services.dialect import START_END
from drunner_vault.services.servicecfg import ServiceConfig

RUNNER = b"#!/bin/bash\n"


def test_a_service_has_its_settings_and_its_dialect_told() -> None:
    files = {"servicerunner": RUNNER, "servicecfg.sh": b"VERSION=2\nVOLUMES=(/data)\n", "lib/x": b""}
    assert check_scripts(files) == (ServiceConfig(("/data",), (), 2), START_END)


@pytest.mark.parametrize(
    ("files", "message", "hint"),
    [
        ({}, "no /drunner/servicerunner", "servicecfg.sh"),
        ({"servicerunner": RUNNER}, "no /drunner/servicecfg.sh", "servicerunner"),
        ({"servicecfg.sh": b""}, "no /drunner/servicerunner", "servicecfg.sh"),
        ({"servicerunner": b" \n", "servicecfg.sh": b""}, "servicerunner is empty", "servicecfg.sh"),
        (dict.fromkeys(["install", "destroy", "help", "enter"], b""), "one script per command", "servicerunner"),
        ({"service.lua": b""}, "0.7 or later", "earlier tag"),
        ({"servicerunner": RUNNER, "docker-compose.yml": b""}, "0.4 to 0.6", "earlier tag"),
        ({"servicerunner": RUNNER, "servicecfg.sh": b"\nVOLUMES=($X)"}, r"line 2: .*VOLUMES=\(\$X\)", "literal"),
    ],
)
def test_what_is_no_service_is_refused_saying_why(files: dict[str, bytes], message: str, hint: str) -> None:
    with pytest.raises(BadImage, match=message) as caught:
        check_scripts(files)
    assert hint in caught.value.hint
