"""Whether the files in an image's /drunner make a service. The user that the image runs as is checked elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from drunner_vault.errors import BadImage
from drunner_vault.services.dialect import Dialect, detect, is_one_script_per_command
from drunner_vault.services.servicecfg import ServiceConfig, parse_servicecfg

SERVICERUNNER = "servicerunner"
SERVICECFG = "servicecfg.sh"

_HINT = "a service's image carries /drunner/servicerunner and /drunner/servicecfg.sh"


def check_scripts(files: Mapping[str, bytes]) -> tuple[ServiceConfig, Dialect]:
    """The settings and the dialect of the service whose /drunner holds these files.

    files: content by path relative to /drunner. Raises BadImage saying what is missing, which older or newer
    convention the files follow, or which line of the settings cannot be read.
    """
    if SERVICERUNNER not in files:
        raise _no_servicerunner(files)
    if SERVICECFG not in files:
        raise _no_servicecfg(files)
    if not files[SERVICERUNNER].strip():
        raise BadImage("/drunner/servicerunner is empty", _HINT)
    config = parse_servicecfg(files[SERVICECFG])
    return config, detect(config, files[SERVICERUNNER])


def _no_servicerunner(files: Mapping[str, bytes]) -> BadImage:
    if is_one_script_per_command(files):
        return BadImage(
            "the image follows dRunner's first convention, one script per command (/drunner/install and so on)",
            "bring it up to the present one: a single script /drunner/servicerunner, and /drunner/servicecfg.sh",
        )
    if {"service.lua", "service.yml"} & set(files):
        return BadImage(
            "the image is made for dRunner 0.7 or later (service.lua, service.yml), which has no servicerunner",
            "use an earlier tag of the image, or add /drunner/servicerunner and /drunner/servicecfg.sh",
        )
    return BadImage("the image has no /drunner/servicerunner", _HINT)


def _no_servicecfg(files: Mapping[str, bytes]) -> BadImage:
    if "docker-compose.yml" in files:
        return BadImage(
            "the image is made for dRunner 0.4 to 0.6 (docker-compose.yml), and has no /drunner/servicecfg.sh",
            "use an earlier tag of the image, or add /drunner/servicecfg.sh with its VOLUMES",
        )
    return BadImage("the image has no /drunner/servicecfg.sh", _HINT)
