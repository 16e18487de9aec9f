"""`servicecfg.sh`: what a service's image says about itself, read as data.

The file is a bash script by name only. Every published one sets literal arrays, so literal arrays are all that is read;
a file that would need to be run is refused, with the line shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from drunner_vault.errors import BadImage
from drunner_vault.services.shell import LiteralError, Value, parse_assignments

_HINT = "servicecfg.sh may set VOLUMES=(…), EXTRACONTAINERS=(…) and VERSION=2, to literal values"
_VERSIONS = {"1": 1, "2": 2}


@dataclass(frozen=True)
class ServiceConfig:
    """The settings of a service.

    volumes: absolute paths inside its containers, in the file's order. extra_containers: images it uses besides its
    own. version: 1, or 2 for services whose hooks are named `X_start` and `X_end`.
    """

    volumes: tuple[str, ...] = ()
    extra_containers: tuple[str, ...] = ()
    version: int = 1


def parse_servicecfg(text: bytes | str) -> ServiceConfig:
    """The settings in the text of a servicecfg.sh (UTF-8). What is not set is empty, and version 1.

    Raises BadImage, naming the line, for anything but literal assignments of the three known names, and for paths that
    cannot be volumes.
    """
    try:
        values = parse_assignments(text)
    except LiteralError as cause:
        raise BadImage(f"servicecfg.sh, line {cause.line}: {cause.reason}: {cause.text}", _HINT) from cause
    unknown = set(values) - {"VOLUMES", "EXTRACONTAINERS", "VERSION"}
    if unknown:
        raise BadImage(f"servicecfg.sh sets {', '.join(sorted(unknown))}, which no service has", _HINT)
    return ServiceConfig(
        volumes=_volumes(_elements(values.get("VOLUMES", ()))),
        extra_containers=_images(_elements(values.get("EXTRACONTAINERS", ()))),
        version=_version(values.get("VERSION", "1")),
    )


def _elements(value: Value) -> tuple[str, ...]:
    """Bash takes a plain string for an array of one; an empty string is taken for an empty array."""
    if isinstance(value, str):
        return (value,) if value else ()
    return value


def _version(value: Value) -> int:
    if isinstance(value, str) and value in _VERSIONS:
        return _VERSIONS[value]
    raise BadImage(f"servicecfg.sh asks for VERSION={value}; only 1 and 2 are known", _HINT)


def _volumes(paths: tuple[str, ...]) -> tuple[str, ...]:
    seen: set[PurePosixPath] = set()
    for path in paths:
        pure = PurePosixPath(path)
        if problem := _problem_with_path(path, pure):
            raise BadImage(f"servicecfg.sh: the volume {path!r} {problem}", _HINT)
        if pure in seen:
            raise BadImage(f"servicecfg.sh: the volume {path!r} is listed twice", _HINT)
        seen.add(pure)
    return paths


def _problem_with_path(path: str, pure: PurePosixPath) -> str:
    if not pure.is_absolute():
        return "is not an absolute path"
    if len(pure.parts) == 1:
        return "is the whole file system of the container"
    if ".." in pure.parts:
        return "contains '..'"
    if ":" in path or re.search(r"[\x00-\x1f\x7f]", path):
        return "contains a colon or a control character, which Docker cannot mount"
    return ""


def _images(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][\w.:/@-]*", name, re.ASCII):
            raise BadImage(f"servicecfg.sh: {name!r} in EXTRACONTAINERS is not the name of an image", _HINT)
    return names
