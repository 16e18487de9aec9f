"""What a service, and each of its volumes, may be called.

A service's name becomes a directory, a command on PATH and a part of container and volume names, so it is checked
before anything is made from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from drunner_vault.errors import BadImage, BadServiceName

MAX_LENGTH = 63  # a service's name is often used as a host name, and a label of DNS ends there

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# A launcher of such a name would hide our own commands, or could never be called from a shell.
_TAKEN = """
drunner drunner-vault help
alias bg bind break builtin case cd command continue coproc declare dirs disown do done echo elif else enable esac eval
exec exit export false fc fg fi for function getopts hash history if in jobs kill let local logout popd printf pushd pwd
read readonly return select set shift shopt source suspend test then time times trap true type typeset ulimit umask
unalias unset until wait while
"""
_RESERVED = frozenset(_TAKEN.split())


def check_service_name(name: str) -> str:
    """The name itself, when a service can have it.

    Letters, digits, `_`, `.` and `-`, beginning with a letter or digit, at most 63 characters, and not a word that
    means something else to the shell or to us. Raises BadServiceName.
    """
    hint = "use letters, digits, '_', '.' and '-', beginning with a letter or a digit"
    if not name:
        raise BadServiceName("the name of a service is empty", hint)
    if len(name) > MAX_LENGTH:
        raise BadServiceName(
            f"the service name {name[:20]!r}… has {len(name)} characters", f"use at most {MAX_LENGTH} characters"
        )
    if not _NAME.fullmatch(name):
        raise BadServiceName(f"{name!r} cannot be the name of a service", hint)
    if name in _RESERVED:
        raise BadServiceName(
            f"{name!r} cannot be the name of a service: it is a command already", "choose another name"
        )
    return name


def default_service_name(image: str) -> str:
    """The name a service gets when none is given: the image's last part, without tag or digest.

    `host:5000/team/mine:1.2@sha256:…` gives `mine`. Raises BadServiceName if that is no possible name.
    """
    last = image.split("@", 1)[0].rsplit("/", 1)[-1]
    try:
        return check_service_name(last.split(":", 1)[0])
    except BadServiceName as cause:
        raise BadServiceName(
            f"the image {image!r} gives no name for its service: {cause.message}", "give the service a name"
        ) from cause


def volume_name(service: str, path: str) -> str:
    """The Docker volume that holds `path` of `service`: `drunner-SERVICE-` and the path's letters and digits."""
    return f"drunner-{service}-" + re.sub(r"[^A-Za-z0-9]", "", path)


def volume_names(service: str, paths: Iterable[str]) -> tuple[str, ...]:
    """The volumes of a service, in the order of `paths`.

    Raises BadImage if two paths would share one volume (`/a/b` and `/ab`), or a path leaves no name at all.
    """
    owner: dict[str, str] = {}
    for path in paths:
        name = volume_name(service, path)
        hint = "rename a path in the VOLUMES of servicecfg.sh"
        if name == volume_name(service, ""):
            raise BadImage(f"the volume {path!r} has neither a letter nor a digit to name it by", hint)
        if name in owner:
            raise BadImage(f"the volumes {owner[name]!r} and {path!r} would both be stored in {name}", hint)
        owner[name] = path
    return tuple(owner)
