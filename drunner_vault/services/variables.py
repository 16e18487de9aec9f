"""The files that a service's scripts source: `variables.sh`, `utils.sh`; and `imagename.sh`, which only we read.

Their keys, order and array syntax are dRunner's of 2016, since scripts depend on them. Values are escaped within the
same double quotes.
"""

from __future__ import annotations

import datetime as dt
import subprocess
from importlib import resources
from pathlib import Path

from drunner_vault.services.names import volume_names
from drunner_vault.services.servicecfg import ServiceConfig
from drunner_vault.services.shell import Value, render_assignments

_HEADER = "# The variables of this service, for its servicerunner.\n# Written at install, recover and update.\n"


def render_variables(
    service: str, image: str, config: ServiceConfig, *, installed: dt.datetime, host_ip: str, temp_dir: Path
) -> str:
    """The text of variables.sh.

    image: the reference as the person gave it. installed: aware; written in UTC as RFC 2822 does. temp_dir: where on
    the host the service may keep what it needs for a moment. Raises BadImage if two volumes would share a name.
    """
    names = volume_names(service, config.volumes)
    mounts = tuple(word for name, path in zip(names, config.volumes, strict=True) for word in ("-v", f"{name}:{path}"))
    values: dict[str, Value] = {
        "DOCKERVOLS": names,
        "DOCKEROPTS": mounts,
        "VOLUMES": config.volumes,
        "EXTRACONTAINERS": config.extra_containers,
        "SERVICENAME": service,
        "IMAGENAME": image,
        "INSTALLTIME": install_time(installed),
        "HOSTIP": host_ip,
        "SERVICETEMPDIR": str(temp_dir),
    }
    return _HEADER + render_assignments(values)


def render_imagename(image: str) -> str:
    """The text of imagename.sh: the image reference as the person gave it."""
    return render_assignments({"IMAGENAME": image})


def install_time(moment: dt.datetime) -> str:
    """The time in UTC, in English whatever the locale: `Mon, 08 Feb 2016 01:34:40 +0000`."""
    from email.utils import format_datetime  # takes longer to import than listing services

    return format_datetime(moment.astimezone(dt.UTC))


def host_ip() -> str:
    """The address that this host sends from, or 127.0.0.1 where that cannot be told.

    The field after `src` in what `ip route get 1` says; the last field, which dRunner took, is the user's id in newer
    versions of ip.
    """
    try:
        done = subprocess.run(["ip", "route", "get", "1"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "127.0.0.1"
    return source_address(done.stdout)


def source_address(route: str) -> str:
    """The field after `src` in the output of `ip route get`; 127.0.0.1 where there is none."""
    words = route.split()
    return words[words.index("src") + 1] if "src" in words[:-1] else "127.0.0.1"


def utils_sh() -> str:
    """The text of utils.sh, the functions that services expect to be given."""
    return resources.files("drunner_vault.services").joinpath("utils.sh").read_text(encoding="utf-8")
